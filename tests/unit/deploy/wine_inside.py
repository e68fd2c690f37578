"""Runs under wine with Windows' Python 3.11 and without numpy and pydantic: one check a call, `ok` at its end.

python wine_inside.py CHECK FOLDER [PORT]
"""

# ruff: noqa: PT017 -- no pytest inside

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path, PureWindowsPath


def dlls() -> None:
    """pywin32's DLLs, as pywin32.pth does it where site is loaded."""
    for entry in sys.path:
        if (Path(entry) / "pywin32_system32").is_dir():
            os.add_dll_directory(str(Path(entry) / "pywin32_system32"))


def until(seen: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def settings(folder: Path, **more: object) -> types.SimpleNamespace:
    plain = {"include": ("*",), "exclude": (), "mode": "events", "poll_s": 15, "reconcile_s": 300}
    return types.SimpleNamespace(path=folder, **(plain | more))


def watching(folder: Path) -> None:
    """ReadDirectoryChangesW through watchdog and our folder source: nothing missed, also in a folder made meanwhile."""
    from agent.sources.folder import FolderSource

    (folder / "before.tif").write_bytes(b"1")
    source = FolderSource(settings(folder))
    source.start()
    heard: set[str] = set()

    def hear(*names: str) -> None:
        def all_heard() -> bool:
            seen = [event.path for event in source.poll() if hasattr(event, "size")]
            # Long names are reached by another spelling.
            heard.update(path.removeprefix("\\\\?\\") for path in seen)
            return {str(folder / name) for name in names} <= heard

        until(all_heard)

    hear("before.tif")
    (folder / "new").mkdir()
    (folder / "new" / "image.tif").write_bytes(b"2")
    (folder / "x.tmp").write_bytes(b"3")
    (folder / "x.tmp").rename(folder / "x.tif")
    hear("new\\image.tif", "x.tif")
    assert not any(path.endswith(".tmp") for path in heard)
    source.stop()


def sharing(folder: Path) -> None:
    """What another program holds open is seen, and cannot be renamed or replaced behind its back."""
    from agent.sources.writers import is_open_for_writing

    path = folder / "image.tif"
    with path.open("wb") as file:
        file.write(b"x")
        file.flush()
        assert is_open_for_writing(path) is True
        try:
            path.rename(folder / "other.tif")
        except PermissionError as error:
            assert error.winerror == 32
        else:
            raise AssertionError("a file that is open was renamed")
    assert is_open_for_writing(path) is False


def paths(folder: Path) -> None:
    """Drives, UNC, names that differ in case, long names, locks that go with their owner."""
    import subprocess

    from agent.errors import Busy
    from agent.lock import FolderLock, is_held
    from agent.sources.mounts import is_network
    from agent.sources.names import Names
    from agent.sources.walk import walk

    assert is_network(Path("C:\\")) is False
    assert is_network(Path(r"\\server\share\images")) is True
    (folder / "UPPER.TIF").write_bytes(b"x")
    assert len(list(filter(None, walk(str(folder), Names(settings(folder, include=("*.tif",))))))) == 1
    with FolderLock(folder, "daemon"):
        assert is_held(folder, "daemon")
        try:
            FolderLock(folder, "daemon").__enter__()
        except Busy as error:
            assert f"pid {os.getpid()}" in str(error)
        else:
            raise AssertionError("locked twice")
    code = f"import sys; sys.path[:] = {sys.path!r}\nfrom pathlib import Path\nfrom agent.lock import FolderLock\n"
    code += f"FolderLock(Path({str(folder)!r}), 'killed').__enter__(); print('held', flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    child.stdout.readline()
    assert is_held(folder, "killed")
    child.kill()
    child.wait()
    until(lambda: not is_held(folder, "killed"))


def outbox(folder: Path) -> None:
    """SQLite in WAL on a Windows path; what was saved is there, and a second process can look on."""
    from agent.acquisition import Acquisition, FoundBy, State
    from agent.outbox import Outbox

    path = folder / "outbox.sqlite"
    made = Outbox.open(path)
    made.save(Acquisition("i", "watch:i", FoundBy.WATCH, "cells", State.COMPLETE, 1))
    seen = Outbox.view(path)
    assert seen.queue() == 1
    seen.close()
    assert made.check() == []
    made.close()
    again = Outbox.open(path)
    assert again.get("i").acquisition.name == "cells"
    again.close()


def journal(folder: Path) -> None:
    """The hook's journal: all that was put is on the disk, in order, and nothing counted as lost."""
    from agent.hook.journal import Journal

    spool = folder / "spool"
    made = Journal(spool)
    made.put("started", {"run": 1})
    for number in range(1000):
        made.put("frame", {"run": 1, "i": number})
    made.put("finished", {"run": 1})
    until(lambda: any(b'"finished"' in path.read_bytes() for path in spool.glob("*.jsonl")))
    made.close()
    text = b"".join(path.read_bytes() for path in spool.glob("*.jsonl"))
    assert text.count(b'"frame"') == 1000
    assert made.lost == 0


def mqtt(_folder: Path, port: str) -> None:
    """paho to a real broker: an event at QoS 1 is acknowledged and comes back."""
    from paho.mqtt import client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    heard: list[bytes] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
    client.on_message = lambda _c, _u, message: heard.append(message.payload)
    client.on_connect = lambda c, *_: c.subscribe("scope/v1/#", qos=1)
    subscribed = threading.Event()
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", int(port))
    client.loop_start()
    assert subscribed.wait(20)
    client.publish("scope/v1/lab/scope/status", b"online", qos=1).wait_for_publish(20)
    until(lambda: heard == [b"online"])
    client.disconnect()
    client.loop_stop()


def service(folder: Path) -> None:
    """The whole life of a service under the service control manager: our code, pywin32, our host in its own process."""
    dlls()
    from agent.service.plan import Plan, hosted
    from agent.service.scm import WindowsScm

    script, config = folder / "host it.py", folder / "config.toml"
    script.write_text(
        f"import sys\nsys.path[:] = {sys.path!r}\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import wine_inside\nwine_inside.stub(sys.argv[1])\n"
    )
    scm = WindowsScm()
    scm.remove()
    until(lambda: scm.command() is None)
    command = hosted(PureWindowsPath(sys.executable), PureWindowsPath(script), PureWindowsPath(config))
    # wine has no virtual accounts.
    scm.register(Plan(command, account=None))
    try:
        assert scm.command() == command
        for turn in (1, 2):
            scm.start()
            until(lambda turn=turn: (folder / "ran").exists() and (folder / "ran").read_text() == "x" * turn)
            assert not scm.is_stopped()
            scm.stop()
            until(scm.is_stopped)
            assert (folder / "ended").read_text() == "x" * turn, "it ended by itself, in order"
    finally:
        scm.remove()
    until(lambda: scm.command() is None)


def stub(config: str) -> None:
    """The service process, with a body that needs no pydantic."""
    dlls()
    from agent.service import host

    folder = Path(config).parent

    class Body:
        def __init__(self, path: Path) -> None:
            assert str(path) == config
            self._stop = threading.Event()

        def run(self) -> None:
            with (folder / "ran").open("a") as file:
                file.write("x")
            self._stop.wait(60)
            with (folder / "ended").open("a") as file:
                file.write("x")

        def stop(self) -> None:
            self._stop.set()

    host.Body = Body
    host.host(config)


def quoting(folder: Path) -> None:
    """Windows itself takes our command lines apart."""
    import ctypes

    from agent.service.plan import quoted

    split = ctypes.windll.shell32.CommandLineToArgvW
    split.argtypes, split.restype = [ctypes.c_wchar_p, ctypes.POINTER(ctypes.c_int)], ctypes.POINTER(ctypes.c_wchar_p)
    for words in (
        [r"C:\Program Files\Python 3\python.exe", "-I", "C:\\my folder\\", "plain"],
        [r"C:\p.exe", 'say "hi"', "\\\\server\\share\\", 'a\\\\"b', "", "tab\there", "'single'", "ä µ"],
    ):
        count = ctypes.c_int()
        found = split(quoted(words), ctypes.byref(count))
        assert [found[n] for n in range(count.value)] == words


if __name__ == "__main__":
    for absent in ("numpy", "pydantic"):
        assert importlib.util.find_spec(absent) is None, f"{absent} does not load under wine, and must not be needed"
    place = Path(sys.argv[2])
    place.mkdir(parents=True, exist_ok=True)
    globals()[sys.argv[1]](place, *sys.argv[3:])
    print("ok")
