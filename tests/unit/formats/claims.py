"""Headers that claim terabytes, asked within limits: `python -m tests.unit.formats.claims CORPUS FOLDER ROUNDS SEED`.

A process of its own, for its memory is limited: after every reader was imported it may grow by 500 MB and no
more. Prints one JSON list of what went wrong, empty when nothing did.
"""

import json
import os
import random
import re
import resource
import shutil
import struct
import sys
import time
import warnings
from pathlib import Path

from agent.formats.inspection import inspect

MB = 1 << 20
GROWTH = 500 * MB
SECONDS = 10
LARGEST = 6_000_000
WORDS = (b"\xff\xff\xff\x7f", b"\xff" * 4, b"\x7f\xff\xff\xff", struct.pack("<Q", 1 << 43), struct.pack(">Q", 1 << 43),
         struct.pack("<I", 1 << 30), struct.pack("<d", 1e13))  # fmt: skip


def sets(corpus):
    """The smallest item of each format that has pixels, as its files."""
    found = {}
    for item in json.loads((corpus / "MANIFEST.json").read_text()):
        known = found.get(item["format"])
        if item["bytes"] <= LARGEST and (known is None or item["bytes"] < known["bytes"]):
            found[item["format"]] = item
    return {name: [corpus / one["path"] for one in item["files"]] for name, item in found.items()}


def claiming(data, dice):
    """The same file with one to three of its numbers grown."""
    made = bytearray(data)
    for _ in range(dice.randint(1, 3)):
        numbers = list(re.finditer(rb"\d+", bytes(made[:200_000]))) if dice.random() < 0.4 else []
        if numbers:
            at = dice.choice(numbers)
            # A text may grow, in a binary file everything must keep its place.
            size = at.end() - at.start() if b"\0" in made[:64] else dice.randint(7, 16)
            made[at.start() : at.end()] = b"9" * size
        else:
            place = dice.choice((dice.randrange(min(len(made), 1100)), dice.randrange(len(made)),
                                 len(made) - 1 - dice.randrange(min(len(made), 600)))) & ~1  # fmt: skip
            word = dice.choice(WORDS)
            made[place : place + len(word)] = word
    return bytes(made)


def copied(files, folder):
    root = Path(os.path.commonpath([path.parent for path in files]))
    made = []
    for path in files:
        target = folder / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        made.append(target)
    return made


def asked(path):
    """What is wrong with the answer; empty when nothing is."""
    began = time.monotonic()
    try:
        found = inspect(path)
        found.to_json()
        found.to_ome_xml()
    except MemoryError as error:
        return repr(error)
    took = time.monotonic() - began
    swallowed = [line for line in found.metadata.errors if "MemoryError" in line or "Unable to allocate" in line]
    return f"{took:.1f} s" if took > SECONDS else " ".join(swallowed)


def main():
    corpus, folder = Path(sys.argv[1]), Path(sys.argv[2])
    rounds, seed = int(sys.argv[3]), sys.argv[4]
    warnings.simplefilter("ignore")
    found = {name: copied(files, folder / name) for name, files in sets(corpus).items()}
    for files in found.values():
        assert not asked(files[0]), files[0]
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + GROWTH,) * 2)
    wrong = []
    for name, files in found.items():
        dice = random.Random(f"{name} {seed}")
        for number in range(rounds):
            path = dice.choice(files[:6])
            good = path.read_bytes()
            if good:
                path.write_bytes(claiming(good, dice))
                if trouble := asked(path):
                    wrong.append([name, number, path.name, trouble])
                path.write_bytes(good)
    print(json.dumps(wrong))


if __name__ == "__main__":
    main()
