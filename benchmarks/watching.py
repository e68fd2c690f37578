"""A burst of files under the eyes of bare watchers and of ours at the same time: who knows how many in the end?

    python benchmarks/watching.py [--files 50000] [--layouts flat tree newdirs] [--speed FILES_PER_S] [--dir FOLDER]

Each watcher is a process of its own on the same folder and hears of the same files: watchdog as its documentation
shows it, watchfiles where it is installed, and our folder source. `newdirs` makes folders while the burst is on.
Without --speed the writer is as fast as it can be. Exit 1 when ours misses a file.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

LAYOUTS = ("flat", "tree", "newdirs")
_QUIET_S = 5.0
"""A bare watcher that heard nothing for so long will hear no more."""
_MOST_S = 300.0
_FOLDERS = 50


def write(root: Path, files: int, layout: str, speed: float) -> None:
    """The acquisition software."""
    made: set[Path] = set()
    began = time.monotonic()
    for number in range(files):
        folder = root if layout == "flat" else root / f"d{number % _FOLDERS:02}"
        if layout == "newdirs":
            folder = root / f"run{number // 40:05}" / "pos0"
        if folder not in made:
            folder.mkdir(parents=True, exist_ok=True)
            made.add(folder)
        with open(folder / f"f{number:06}.tif", "wb") as file:  # noqa: PTH123 - as fast as it can
            file.write(b"x" * 1024)
        if speed and number % 20 == 0:
            time.sleep(max(0.0, began + number / speed - time.monotonic()))


class Heard:
    """The files that a watcher told of, and when the last one was new."""

    def __init__(self, files: int) -> None:
        self.files, self.paths, self.last = files, set(), time.monotonic()

    def tell(self, path: str) -> None:
        if path.endswith(".tif") and path not in self.paths:
            self.paths.add(path)
            self.last = time.monotonic()

    @property
    def is_over(self) -> bool:
        return len(self.paths) >= self.files or (
            bool(self.paths) and time.monotonic() - self.last > _QUIET_S and stop.is_set()
        )


stop = threading.Event()
"""The writer is done."""


def watchdog(root: Path, heard: Heard) -> dict[str, object]:
    from watchdog.events import FileSystemEventHandler
    from watchdog.observers import Observer

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event) -> None:  # type: ignore[no-untyped-def]
            if not event.is_directory:
                heard.tell(str(event.dest_path or event.src_path))

    observer = Observer()
    observer.schedule(Handler(), str(root), recursive=True)
    observer.start()
    print("ready", flush=True)
    _wait(heard)
    observer.stop()
    return {}


def watchfiles(root: Path, heard: Heard) -> dict[str, object]:
    from watchfiles import watch

    print("ready", flush=True)
    for changes in watch(root, yield_on_timeout=True, rust_timeout=200):
        for _, path in changes:
            if Path(path).is_file():
                heard.tell(path)
        if heard.is_over:
            break
    return {}


def ours(root: Path, heard: Heard) -> dict[str, object]:
    from agent.sources.events import FileSeen, WatchLost
    from agent.sources.folder import FolderSource
    from agent.sources.settings import WatchSettings

    source = FolderSource(WatchSettings(path=root, mode="events"))
    source.start()
    while not source.idle:
        source.poll()
    print("ready", flush=True)
    lost: list[str] = []
    end = time.monotonic() + _MOST_S
    while time.monotonic() < end and not heard.is_over:
        events = source.poll()
        for event in events:
            if isinstance(event, FileSeen):
                heard.tell(event.path)
            elif isinstance(event, WatchLost):
                lost.append(event.reason)
        if not events:
            time.sleep(0.1)
    source.stop()
    return {"said": sorted(set(lost))}


def _wait(heard: Heard) -> None:
    end = time.monotonic() + _MOST_S
    while time.monotonic() < end and not heard.is_over:
        time.sleep(0.1)


def watch_alone(name: str, root: Path, files: int) -> None:
    """In a process of its own; a line on its standard input says that the writer is done."""

    def hear() -> None:
        sys.stdin.readline()
        stop.set()

    threading.Thread(target=hear, daemon=True).start()
    heard = Heard(files)
    more = {"watchdog": watchdog, "watchfiles": watchfiles, "ours": ours}[name](root, heard)
    used = os.times()
    print(json.dumps({"known": len(heard.paths), "last": heard.last, "cpu": used.user + used.system, **more}))
    sys.stdout.flush()
    os._exit(0)


def burst(folder: Path, layout: str, files: int, speed: float, names: list[str]) -> bool:
    """One burst; True when ours knows every file."""
    root = Path(tempfile.mkdtemp(prefix=f"{layout}-", dir=folder))
    if layout == "tree":
        for number in range(_FOLDERS):
            (root / f"d{number:02}").mkdir()
    command = [sys.executable, "-W", "ignore", __file__, "--files", str(files)]
    watchers = {
        name: subprocess.Popen(
            [*command, "--as", name, "--dir", str(root)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for name in names
    }  # fmt: skip
    for watcher in watchers.values():
        assert watcher.stdout is not None
        watcher.stdout.readline()
    began = time.monotonic()
    writing = [*command, "--write", layout, "--speed", str(speed), "--dir", str(root)]
    subprocess.run(writing, check=True)
    wrote = time.monotonic() - began
    print(f"{layout}: {files:,} files in {wrote:.1f} s ({files / wrote:,.0f} files/s)", flush=True)
    whole = True
    for name, watcher in watchers.items():
        said = json.loads(watcher.communicate("done\n")[0].splitlines()[-1])
        lost = files - said["known"]
        whole = whole and (name != "ours" or not lost)
        after = said["last"] - began - wrote
        note = "; ".join(said.get("said", []))
        print(f"  {name:10} lost {lost:7,} ({lost / files:6.1%})  last known {after:+6.1f} s after the writer's end  "
              f"{said['cpu']:5.1f} s of processor  {note}", flush=True)  # fmt: skip
    shutil.rmtree(root)
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--layouts", nargs="*", choices=LAYOUTS, default=LAYOUTS)
    parser.add_argument("--speed", type=float, default=0.0, help="files a second; 0: as fast as it can")
    parser.add_argument("--dir", type=Path, default=None, help="where the files are made")
    parser.add_argument("--as", dest="name", default="", help=argparse.SUPPRESS)
    parser.add_argument("--write", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.name:
        watch_alone(asked.name, asked.dir, asked.files)
    elif asked.write:
        write(asked.dir, asked.files, asked.write, asked.speed)
    else:
        names = ["watchdog", "ours"]
        if importlib.util.find_spec("watchfiles"):
            names.insert(1, "watchfiles")
        folder = Path(tempfile.mkdtemp(prefix="watching-", dir=asked.dir))
        try:
            whole = [burst(folder, layout, asked.files, asked.speed, names) for layout in asked.layouts]
        finally:
            shutil.rmtree(folder)
        sys.exit(0 if all(whole) else 1)


if __name__ == "__main__":
    main()
