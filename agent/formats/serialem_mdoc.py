"""SerialEM: a text of sections `[ZValue = n]` beside the stack or the frames that it describes.

The text grows by a section a tilt. Whole when the file that it names has as many sections.
"""

from __future__ import annotations

import re
from pathlib import Path, PureWindowsPath

from agent.formats import binary, mrc, tiff_layout
from agent.formats.guarded import guarded
from agent.formats.mdoc import Mdoc, parse
from agent.formats.members import plain
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.tiff_layout import TroubleError

_MARK = re.compile(rb"^\s*\[(ZValue|FrameSet|MontSection)\s*=|^(ImageFile|DataMode|PixelSpacing)\s*=", re.MULTILINE)


def _is_mdoc(path: Path) -> bool:
    return path.suffix.lower() == ".mdoc" and _MARK.search(binary.head(path, 1 << 14)) is not None


def _text(path: Path) -> Mdoc:
    with path.open("rb") as file:
        return parse(file.read(binary.MAX_PIECE).decode("utf-8", errors="replace"))


def _image_of(path: Path, said: Mdoc) -> str | None:
    """The file that the text describes, by what it says, else by its own name."""
    named = said.globals.get("ImageFile")
    if named is None and said.sections:
        named = said.sections[0].get("SubFramePath") if said.kind == "FrameSet" else None
    if named is not None:
        return PureWindowsPath(named).name
    return path.stem if Path(path.stem).suffix.lower() in (*mrc.SUFFIXES, ".tif", ".tiff", ".eer") else None


class SerialEm:
    """The text and its images."""

    name = "serialem-mdoc"

    def matches(self, path: Path) -> bool:
        if path.suffix.lower() == ".mdoc":
            return _is_mdoc(path)
        if path.suffix.lower() not in (*mrc.SUFFIXES, ".tif", ".tiff"):
            return False
        return _is_mdoc(path.with_name(f"{path.name}.mdoc"))

    def dataset(self, path: Path) -> Dataset:
        text = path if path.suffix.lower() == ".mdoc" else path.with_name(f"{path.name}.mdoc")
        said = _text(text)
        # `a.mrc.mdoc` lies beside `a.mrc`, also when both were renamed.
        own = text.with_name(text.stem)
        named = _image_of(text, said)
        image = own if own.is_file() else text.with_name(named) if named and plain(named) else None
        if image is None:
            return Dataset(self.name, text, text.parent, (text,))
        if not image.is_file():
            return Dataset(self.name, text, text.parent, (text,), (image.name,))
        return Dataset(self.name, text, text.parent, tuple(sorted({text, image})))

    def is_whole(self, dataset: Dataset) -> Verdict:
        if dataset.missing:
            return binary.growing(f"the images are not there: {dataset.missing[0]}")
        said = _text(dataset.main)
        images = [path for path in dataset.files if path != dataset.main]
        if not images or not said.sections:
            return binary.unknown("the text names no images")
        path, wanted = images[0], len(said.sections) if said.kind == "ZValue" else 0
        if path.suffix.lower() in (".tif", ".tiff"):
            verdict, have = (found := tiff_layout.layout(path)).verdict, found.planes
            if verdict.state is not Wholeness.WHOLE:
                return verdict
        else:
            verdict = mrc.Mrc().is_whole(Dataset(mrc.Mrc.name, path, path.parent, (path,)))
            if verdict.state is not Wholeness.WHOLE:
                return verdict
            try:
                have = mrc.header(path).sizes[2]
            except TroubleError as trouble:
                return trouble.verdict
        if wanted and have != wanted:
            return binary.growing(f"the text describes {wanted} sections, the stack has {have}")
        # A tilt series may go on: the text never says that it was the last tilt.
        return binary.unknown(f"{have} images and their text are there; the text does not say that it is over")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Sections of the stack."""
        images = [path for path in dataset.files if path != dataset.main]
        if not images:
            return 0
        if images[0].suffix.lower() in (".tif", ".tiff"):
            return tiff_layout.layout(images[0]).planes
        return mrc.Mrc().planes_on_disk(Dataset(mrc.Mrc.name, images[0], images[0].parent, tuple(images)))

    def metadata(self, dataset: Dataset) -> Metadata:
        from agent.formats import mdoc

        return guarded(dataset.main, lambda: mdoc.read(_text(dataset.main), dataset.main.name))
