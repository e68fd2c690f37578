"""Are the folders there, may we use them, is there room, and does the system let us watch so many?"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PurePath, PureWindowsPath

from agent.config import Config
from agent.hook import default_spool
from agent.lock import prepare_folder
from agent.operate.finding import Finding, tried
from agent.operate.secrets import secret_files
from agent.sources.mounts import is_network
from agent.sources.names import Names
from agent.sources.settings import WatchSettings
from agent.sources.walk import walk

_LOW_DISK = 5 << 30
_PATIENCE_S = 3.0
"""A share that answers slowly must not hold up the check."""
INOTIFY = Path("/proc/sys/fs/inotify")


def check(config: Config) -> Iterator[Finding]:
    """State, spool, watched folders, room, the system's limits, files with secrets."""
    yield tried("state", lambda: prepare_folder(config.state), str(config.state))
    if is_network(config.state) is True:
        yield Finding("fail", "state", f"{config.state} is on a share: name a folder on a local disk")
    yield _spool(config.hook.spool or default_spool())
    for watch in config.watch:
        yield from watched(watch, releasing=config.delivery.release.policy != "never")
    yield from disks(config)
    yield from limits(config.watch)
    yield from secrets(config)


def _spool(spool: Path) -> Finding:
    if not spool.is_dir():
        return Finding("warn", "hook spool", f"{spool} does not exist yet: the hook makes it at the first acquisition")
    if not os.access(spool, os.R_OK | os.W_OK | os.X_OK):
        return Finding("fail", "hook spool", f"{spool} cannot be used by {user()}: let this account read and write it")
    return Finding("ok", "hook spool", str(spool))


def watched(watch: WatchSettings, *, releasing: bool) -> Iterator[Finding]:
    """One watched folder: reachable from this account, readable, and how it is listened to."""
    path = watch.path
    share = is_network(path) is True
    if mapped(path, share=share):
        yield Finding(
            "fail",
            "watch",
            f"{path} is on a mapped drive, which a service cannot see: write its UNC path (\\\\server\\share\\...)",
        )
        return
    try:
        with os.scandir(path) as entries:
            next(entries, None)
    except FileNotFoundError:
        yield Finding("fail", "watch", f"{path} is not there: make it, mount it, or take it out of the config")
        return
    except NotADirectoryError:
        yield Finding("fail", "watch", f"{path} is a file: name the folder that it is in")
        return
    except PermissionError:
        yield Finding("fail", "watch", f"{path} cannot be read by {user()}: let this account read it")
        return
    except OSError as error:
        reason = error.strerror or error
        yield Finding("fail", "watch", f"{path} cannot be reached by {user()} ({reason}): is the server on?")
        return
    how = f"{path} (a share: looked through every {watch.poll_s:g} s)" if share else str(path)
    yield Finding("ok", "watch", how)
    if share and watch.mode == "events":
        yield Finding("warn", "watch", f"{path} is a share, which tells of no events: take out mode = 'events'")
    if releasing and not os.access(path, os.W_OK):
        yield Finding("fail", "watch", f"{user()} may not remove from {path}, as delivery.release wants: let it write")


def mapped(path: PurePath, *, share: bool) -> bool:
    """A drive letter that stands for a share: it belongs to the user who mapped it, a service has none."""
    return share and isinstance(path, PureWindowsPath) and not path.drive.startswith("\\\\")


def disks(config: Config) -> Iterator[Finding]:
    """Each disk once."""
    seen = set()
    reserve = config.delivery.limits.reserve_mib
    for folder in (config.state, *(watch.path for watch in config.watch)):
        try:
            device, free = folder.stat().st_dev, shutil.disk_usage(folder).free
        except OSError:
            continue  # told already
        if device in seen:
            continue
        seen.add(device)
        text = f"{free / 2**30:.1f} GiB free at {folder}"
        if folder == config.state and free < reserve << 20:
            why = f"nothing is written below {reserve} MiB (delivery.limits.reserve_mib)"
            yield Finding("fail", "disk", f"only {text}, {why}: make room")
        elif free > _LOW_DISK:
            yield Finding("ok", "disk", text)
        else:
            yield Finding("warn", "disk", f"only {text}: make room")


def limits(watches: tuple[WatchSettings, ...], system: Path = INOTIFY) -> Iterator[Finding]:
    """Linux watches so many folders for each user and no more; elsewhere there is no such limit."""
    if not sys.platform.startswith("linux") or not system.is_dir():
        return
    listened = [watch for watch in watches if watch.mode == "events" or not is_network(watch.path)]
    most = int((system / "max_user_watches").read_text())
    instances = int((system / "max_user_instances").read_text())
    count, whole = _folders(listened)
    text = f"{'' if whole else 'more than '}{count} folders to watch, the system allows {most}"
    if count > most:
        yield Finding("fail", "watcher", f"{text}: set fs.inotify.max_user_watches higher with sysctl")
    elif count > most * 0.8:
        yield Finding("warn", "watcher", f"{text}: set fs.inotify.max_user_watches higher before it is full")
    else:
        yield Finding("ok", "watcher", text)
    if len(listened) > instances * 0.8:
        text = f"{len(listened)} watched folders, the system allows {instances} watchers"
        yield Finding("fail", "watcher", f"{text}: set fs.inotify.max_user_instances higher with sysctl")


def _folders(watches: list[WatchSettings]) -> tuple[int, bool]:
    """How many folders there are, and whether all were counted in time."""
    deadline = time.monotonic() + _PATIENCE_S
    count = 0
    for watch in watches:
        try:
            for entry in walk(str(watch.path), Names(watch)):
                count += entry is None
                if time.monotonic() > deadline:
                    return count, False
        except OSError:
            continue  # told already
    return count, True


def secrets(config: Config) -> Iterator[Finding]:
    """Files that hold secrets and that everybody can read (POSIX)."""
    for path in secret_files(config):
        if os.name == "posix" and path.is_file() and path.stat().st_mode & stat.S_IROTH:
            yield Finding("warn", "secret", f"everybody on this machine can read {path}: chmod 600 {path}")


def user() -> str:
    """The account that this process runs as."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "this account"
