#!/usr/bin/env python3
"""Copies what a facility holds, while it runs, and puts it back. Needs Python only.

    python3 backup.py save DATA BACKUP       again and again: only what is new or changed is copied
    python3 backup.py restore BACKUP DATA    into a folder that is empty or does not exist; then:
                                             scope-agent facility index --data DATA --verify

Datasets never change once they are whole, so a copy while others arrive is sound: one that is half there has no
manifest yet, and the next backup completes it. The catalogue is copied by SQLite itself, before the datasets.
"""

import argparse
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

CATALOGUE = "catalogue.sqlite"
LEFT_OUT = {f"{CATALOGUE}-wal", f"{CATALOGUE}-shm", f"{CATALOGUE}.making"}


def files(root: Path) -> Iterator[Path]:
    """Every file below `root`, but the database's own and those of locks."""
    for folder, _, names in os.walk(root):
        for name in names:
            if name not in LEFT_OUT and not name.endswith((".lock", ".backup-part")):
                yield Path(folder, name)


def copy(path: Path, to: Path) -> bool:
    """Copy a file that is new or changed; visible only when it is whole."""
    status = path.stat()
    if to.exists() and (to.stat().st_size, to.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns):
        return False
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(f"{to.name}.backup-part")
    shutil.copy2(path, part)
    part.replace(to)
    return True


def save(data: Path, backup: Path) -> int:
    """Copy what is new; the number of files copied."""
    # A disk that is not mounted must not pass for a backup.
    if not any(files(data)):
        sys.exit(f"{data} is not there or holds nothing: name the folder of the facility")
    backup.mkdir(parents=True, exist_ok=True)
    if (data / CATALOGUE).exists():
        making = backup / f"{CATALOGUE}.making"
        with closing(sqlite3.connect(data / CATALOGUE)) as source, closing(sqlite3.connect(making)) as target:
            source.backup(target)
        making.replace(backup / CATALOGUE)
    count = 0
    for path in files(data):
        try:
            count += path.name != CATALOGUE and copy(path, backup / path.relative_to(data))
        except FileNotFoundError:
            continue  # an upload that ended meanwhile
    return count


def restore(backup: Path, data: Path) -> int:
    """Copy all of it into an empty folder; the number of files copied."""
    if data.exists() and any(data.iterdir()):
        sys.exit(f"{data} is not empty: a restore goes into an empty folder")
    if not backup.is_dir():
        sys.exit(f"{backup} is not there: name the folder that was saved to")
    return sum(copy(path, data / path.relative_to(backup)) for path in files(backup))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("what", choices=["save", "restore"])
    asked.add_argument("source", type=Path)
    asked.add_argument("to", type=Path)
    options = asked.parse_args()
    count = (save if options.what == "save" else restore)(options.source, options.to)
    sys.stdout.write(f"{count} files copied to {options.to}\n")


if __name__ == "__main__":
    main()
