"""Olympus FluoView: OIF, a text with a folder of planes beside it, and OIB, the same in one compound file."""

from __future__ import annotations

import re
from math import prod
from pathlib import Path

from agent.formats import binary, many, ole
from agent.formats.binary import Binary
from agent.formats.guarded import guarded
from agent.formats.port import Dataset, Metadata, Verdict
from agent.formats.single import alone as one_file
from agent.formats.single import judged
from agent.formats.tiff import alone
from agent.formats.tiff_layout import TroubleError

Settings = dict[str, dict[str, str]]
_MAX_TEXT = 4 << 20
_PLANE_TEXT = re.compile(r"s_C\d.*\.pty$", re.IGNORECASE)
_MAX_TEXTS = 1000
"""Planes whose own text is read: each needs half a millisecond."""


def settings(raw: bytes) -> Settings:
    """Sections of key=value lines; UTF-16 with or without its mark."""
    text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")
    found: Settings = {}
    section: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("[") and line.rstrip().endswith("]"):
            section = found.setdefault(line.strip()[1:-1], {})
        else:
            key, mark, value = line.partition("=")
            if mark:
                section.setdefault(key.strip(), value.strip().strip("\"'"))
    return found


def sizes(main: Settings) -> dict[str, int]:
    """Elements by axis letter (X, Y, L for lambda, C, Z, T ...), those above zero."""
    found = {}
    for number in range(9):
        axis = main.get(f"Axis {number} Parameters Common", {})
        code, size = axis.get("AxisCode", ""), axis.get("MaxSize", "0")
        if code and size.isdecimal() and len(size) < 9 and int(size) > 0:
            found[code] = int(size)
    return found


class Oib:
    """All in one compound file."""

    name = "oib"

    def matches(self, path: Path) -> bool:
        return ole.is_compound(path, ".oib")

    def dataset(self, path: Path) -> Dataset:
        return one_file(self.name, path)

    def is_whole(self, dataset: Dataset) -> Verdict:
        return judged(dataset.main, _oib_verdict)

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """TIFF streams of the file."""
        return ole.counted(dataset.main, lambda file: sum(name.lower().endswith(".tif") for name in oib_files(file)))

    def metadata(self, dataset: Dataset) -> Metadata:
        def read() -> Metadata:
            from agent.formats import fluoview_metadata

            with binary.opened(dataset.main) as file:
                compound = ole.Compound(file)
                names = oib_files(compound)
                main = next((stream for name, stream in names.items() if name.lower().endswith(".oif")), "")
                planes = sorted(name for name in names if _PLANE_TEXT.search(name))[:_MAX_TEXTS]
                texts = {name: settings(compound.read(names[name], _MAX_TEXT)) for name in planes}
                return fluoview_metadata.read(dataset.main, settings(compound.read(main, _MAX_TEXT)), texts)

        return guarded(dataset.main, read)


def oib_files(compound: ole.Compound) -> dict[str, str]:
    """Stream by the name that it had as a file. Raises TroubleError when there is no list of them."""
    try:
        said = settings(compound.read("OibInfo.txt", _MAX_TEXT)).get("OibSaveInfo", {})
    except KeyError:
        raise TroubleError(binary.damaged("").state, "the compound file has no OibInfo.txt") from None
    found = {}
    for key, value in said.items():
        if key.startswith("Stream"):
            folder, slash, name = value.rpartition("/")
            stream = f"{folder}/{key}" if slash else key
            if stream in compound.streams:
                found[f"{said.get(folder, folder)}/{name}" if slash else name] = stream
    return found


def _oib_verdict(file: Binary) -> Verdict:
    compound = ole.Compound(file)
    compound.check()
    names = oib_files(compound)
    said = settings(compound.read("OibInfo.txt", _MAX_TEXT)).get("OibSaveInfo", {})
    listed = sum(key.startswith("Stream") for key in said)
    if listed > len(names):
        return binary.damaged(f"{listed - len(names)} of {listed} streams are not in the file")
    return binary.whole(f"the compound file is sound and holds all its {len(compound.streams)} streams")


class Oif:
    """A text `NAME.oif` with `NAME.oif.files`."""

    name = "oif"

    def matches(self, path: Path) -> bool:
        if path.suffix.lower() == ".oif":
            return path.is_file()
        return path.parent.name.lower().endswith(".oif.files") and path.is_file()

    def _text(self, path: Path) -> Path:
        return path.parent.parent / path.parent.name.removesuffix(".files")

    def dataset(self, path: Path) -> Dataset:
        text = path if path.suffix.lower() == ".oif" else self._text(path)
        folder = text.with_name(f"{text.name}.files")
        files = [one for one in folder.iterdir() if one.is_file()] if folder.is_dir() else []
        if not text.is_file():
            return Dataset(self.name, min(files, default=path), text.parent, tuple(sorted(files)), (text.name,))
        missing = () if files else (f"{folder.name}/",)
        return Dataset(self.name, text, text.parent, tuple(sorted({text, *files})), missing)

    def is_whole(self, dataset: Dataset) -> Verdict:
        if dataset.main.suffix.lower() != ".oif":
            return binary.growing(f"the text {dataset.missing[0]} is not there")
        main = settings(binary.head(dataset.main, _MAX_TEXT))
        axes = sizes(main)
        if not axes or "SystemVersion" not in main.get("Version Info", {}):
            # The sections are sorted by name: the version of the software comes last.
            return binary.growing(f"{dataset.main.name} is not complete yet")
        if dataset.missing:
            return binary.growing(f"the folder {dataset.missing[0]} is not there")
        need = prod(size for axis, size in axes.items() if axis not in "XY")
        planes = _planes(dataset)
        if len(planes) < need:
            return binary.growing(f"{len(planes)} of {need} planes are there")
        if len(planes) > need:
            return binary.growing(f"{dataset.main.name} announces {need} planes so far, {len(planes)} are there")
        # Texts, lookup tables and regions of single planes may follow.
        return many.worst(planes) or binary.whole(f"all {need} planes are there").without_end()

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Plane files whose data is there."""
        return many.planes(_planes(dataset))

    def metadata(self, dataset: Dataset) -> Metadata:
        if dataset.main.suffix.lower() != ".oif":
            return alone(dataset)

        def read() -> Metadata:
            from agent.formats import fluoview_metadata

            texts = sorted(p for p in dataset.files if _PLANE_TEXT.match(p.name))[:_MAX_TEXTS]
            planes = {path.name: settings(binary.head(path, _MAX_TEXT)) for path in texts}
            return fluoview_metadata.read(dataset.main, settings(binary.head(dataset.main, _MAX_TEXT)), planes)

        return guarded(dataset.main, read)


def _planes(dataset: Dataset) -> list[Path]:
    return [path for path in many.tiffs(dataset.files) if path.name.lower().startswith("s_c")]
