"""OME-TIFF: one file, a set that names itself by UUID, or a companion file with the metadata of all.

Whole when every named file is there, each holds as many images as the OME-XML places in it, and every
image's data lies inside its file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from agent.formats import ome_model, ome_xml, tiff_layout
from agent.formats.members import possible
from agent.formats.ome_rows import OmeRows
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.tiff_page import Head
from agent.sources.spelling import shown

if TYPE_CHECKING:
    from lxml.etree import _Element

_TIFF_NAMES = (".ome.tif", ".ome.tiff", ".ome.tf2", ".ome.tf8", ".ome.btf")
_DOCUMENTS = (".companion.ome", ".xml", ".ome")
"""Names of OME-XML that stands beside its files or alone."""
_TEXT_PIECE = 1 << 16
_OWN_UUID = re.compile(rb'\sUUID\s*=\s*"[^"]*"')
_MAX_SET = 100_000
_MAX_NAME = 1000
"""Letters of a name with its folders; systems end between 1,024 and 32,767 for the whole path."""


@contextmanager
def _xml(path: Path) -> Iterator[Iterator[bytes]]:
    """The OME-XML of a TIFF's first image or of a companion file, in pieces."""
    if _is_companion(path):
        with path.open("rb") as file:
            yield iter(lambda: file.read(_TEXT_PIECE), b"")
        return
    found = tiff_layout.layout(path, max_ifds=1)
    with path.open("rb") as file:
        yield tiff_layout.text_chunks(file, found, tiff_layout.IMAGE_DESCRIPTION)


def _files(path: Path) -> ome_xml.Files:
    with _xml(path) as chunks:
        return ome_xml.files(chunks)


def _said(path: Path) -> bytes:
    """A fingerprint of the OME-XML without the file's own UUID: in most sets every file repeats the same text."""
    found = hashlib.blake2b(digest_size=16)
    with _xml(path) as chunks:
        for number, chunk in enumerate(chunks):
            found.update(_OWN_UUID.sub(b"", chunk, count=1) if number == 0 else chunk)
    return found.digest()


def _is_companion(path: Path) -> bool:
    return path.name.lower().endswith(_DOCUMENTS)


def _is_ome_text(head: str) -> bool:
    return head.lstrip("\ufeff \t\r\n").startswith("<") and ("<OME" in head or ":OME" in head)


def beside(folder: Path, name: str) -> Path | None:
    """The file that a document names, never one outside its own folder; writers store absolute paths too."""
    pure = PureWindowsPath(name) if "\\" in name or PureWindowsPath(name).drive else PurePosixPath(name)
    if len(name) > _MAX_NAME:
        return None
    if pure.is_absolute() or pure.drive:
        return folder / pure.name if possible(pure.name) else None
    if ".." in pure.parts or not pure.parts or not all(possible(part) for part in pure.parts):
        return None
    return folder.joinpath(*pure.parts)


class OmeTiff:
    """OME-TIFF files, sets and companions."""

    name = "ome-tiff"

    def matches(self, path: Path) -> bool:
        try:
            found = tiff_layout.layout(path, max_ifds=1)
            if found.first:
                return _is_ome_text(tiff_layout.text(path, found, tiff_layout.IMAGE_DESCRIPTION, 4096))
        except OSError:
            return False
        # A file that was just begun has no text yet; its name says what it will be.
        return found.verdict.state is Wholeness.GROWING and path.name.lower().endswith(_TIFF_NAMES)

    def dataset(self, path: Path) -> Dataset:
        said = _files(path)
        if said.metadata_file:
            return self._of_master(path, said)
        return self._of_names(path, said)

    def _of_master(self, path: Path, said: ome_xml.Files) -> Dataset:
        """A file that only holds pixels: the set is what its metadata file says."""
        master = beside(path.parent, said.metadata_file)
        if master is None or not master.is_file():
            name = said.metadata_file if master is None else master.name
            return Dataset(self.name, path, path.parent, (path,), (name,))
        if master == path:
            return self._of_names(path, said)
        return self._of_names(master, _files(master), member=path)

    def _of_names(self, main: Path, said: ome_xml.Files, member: Path | None = None) -> Dataset:
        folder = main.parent
        present: dict[Path, None] = {}
        missing: list[str] = []
        if _is_companion(main):
            present[main] = None
        for name, uuid in list(said.names.items())[:_MAX_SET]:
            # A set of one file that was renamed still means itself.
            target = main if len(said.names) == 1 and uuid == said.uuid else beside(folder, name)
            if target is not None and target.is_file() and not target.is_symlink():
                present[target] = None
            else:
                missing.append(name)
        for own in (main, member):
            if own is not None:
                present.setdefault(own)
        first = main if said.metadata_file or member is not None else next(iter(present))
        return Dataset(self.name, first, folder, tuple(sorted(present)), tuple(missing))

    def is_whole(self, dataset: Dataset) -> Verdict:
        if dataset.missing:
            names = ", ".join(dataset.missing[:3]) + (" ..." if len(dataset.missing) > 3 else "")
            total = len(dataset.files) + len(dataset.missing)
            return Verdict(Wholeness.GROWING, f"{len(dataset.missing)} of {total} files are not there: {names}")
        said = _files(dataset.main)
        if said.incomplete:
            return self._without_text(dataset)
        text = _said(dataset.main)
        verdicts = [self._file_verdict(dataset, path, said, text) for path in dataset.files]
        for state in (Wholeness.DAMAGED, Wholeness.GROWING, Wholeness.UNKNOWN):
            for verdict in verdicts:
                if verdict.state is state:
                    return verdict
        return Verdict(Wholeness.WHOLE, f"all {len(dataset.files)} files and all their planes are there")

    def _without_text(self, dataset: Dataset) -> Verdict:
        """The OME-XML does not parse: not all there yet, or broken where the TIFF around it is whole."""
        if _is_companion(dataset.main):
            return Verdict(Wholeness.GROWING, f"{dataset.main.name} is not complete OME-XML yet")
        verdict = tiff_layout.layout(dataset.main).verdict
        if verdict.state is Wholeness.WHOLE:
            return Verdict(Wholeness.DAMAGED, f"the OME-XML in {dataset.main.name} cannot be read")
        return Verdict(verdict.state, f"{dataset.main.name}: {verdict.reason}")

    def _file_verdict(self, dataset: Dataset, path: Path, said: ome_xml.Files, text: bytes) -> Verdict:
        if _is_companion(path):
            return Verdict(Wholeness.WHOLE, "the companion file is complete")
        found = tiff_layout.layout(path)
        if found.verdict.state in (Wholeness.WHOLE, Wholeness.UNKNOWN):
            own = said if path == dataset.main or _said(path) == text else _files(path)
            # A run that ended early is told by each file for itself: the copies in the others are older.
            needed = _needed(own if own.names and not own.incomplete else said, path, dataset)
            if found.ifds < needed and not _closed_early(own, path, dataset, found.ifds):
                return Verdict(
                    Wholeness.GROWING, f"{path.name} announces {needed} planes and lists {found.ifds} so far"
                )
        return Verdict(found.verdict.state, f"{path.name}: {found.verdict.reason}")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Images of all files whose data is really there."""
        tiffs = [path for path in dataset.files if not _is_companion(path)]
        return sum(tiff_layout.layout(path).planes for path in tiffs)

    def metadata(self, dataset: Dataset) -> Metadata:
        software = {}
        notes: tuple[str, ...] = ()
        if not _is_companion(dataset.main):
            found = tiff_layout.layout(dataset.main, max_ifds=1)
            if written_by := tiff_layout.text(dataset.main, found, tiff_layout.SOFTWARE, 4096).strip():
                software["TIFF Software"] = written_by
        try:
            with _xml(dataset.main) as chunks:
                rows = OmeRows()
                root, count = ome_xml.document(chunks, seen=rows)
            notes = _other_size(dataset.main, root)
            if creator := root.get("Creator"):
                software["OME Creator"] = creator
            if count > ome_xml.MAX_PLANES and rows.known():
                places = tuple(rows.places(dataset, beside))
                ome, left_out = ome_model.to_ome(root)
                return Metadata(ome, software, notes=(*notes, *left_out), places=places, planes=rows.planes)
            if count > ome_xml.MAX_PLANES:
                notes += (f"{count} plane entries stay in the files, they are too many to be repeated here",)
            else:
                _complete(dataset, root)
            ome, left_out = ome_model.to_ome(root)
            return Metadata(ome, software, notes=(*notes, *left_out))
        except ome_xml.UnreadableError as error:
            return Metadata(software=software, errors=(f"{dataset.main.name}: {error}",), notes=notes)


def _other_size(main: Path, root: _Element) -> tuple[str, ...]:
    """A note when the file's first image, which the document places there, has another width or height (pixels)."""
    pixels = root.find("{*}Image/{*}Pixels")
    block = None if pixels is None else pixels.find("{*}TiffData")
    if pixels is None or block is None or block.get("IFD", "0") != "0" or _is_companion(main):
        return ()
    uuid = block.find("{*}UUID")
    if uuid is not None and uuid.text != root.get("UUID"):
        return ()
    page, said = Head(main).page, (pixels.get("SizeX"), pixels.get("SizeY"))
    if None in said or (str(page.width), str(page.height)) == said:
        return ()
    sizes = f"{said[0]} x {said[1]} pixels, the first one of {shown(main.name)} has {page.width} x {page.height}"
    return (f"the OME-XML says images of {sizes}: open it with care",)


def _needed(said: ome_xml.Files, path: Path, dataset: Dataset) -> int:
    """Images that a document places in a file, which may have been renamed when it is alone."""
    if len(dataset.files) == 1:
        return max(said.planes.values(), default=0)
    return said.planes.get(path.relative_to(dataset.root).as_posix(), 0)


def _closed_early(own: ome_xml.Files, path: Path, dataset: Dataset, ifds: int) -> bool:
    """ome-writers 0.3 notes the planes of a canceled run at the first image, whichever file it closes."""
    first, count = next(iter(own.planes.items()), ("", 0))
    return first != path.relative_to(dataset.root).as_posix() and count == ifds > 0


def _complete(dataset: Dataset, root: _Element) -> None:
    """What each file of a set says of itself (planes, and sizes when a run ended early), and real file names."""
    images = {image.get("ID"): image for image in root.findall("{*}Image")}
    if len(images) > 1:
        text = _said(dataset.main)
        for path in dataset.files:
            if path != dataset.main and not _is_companion(path) and _said(path) != text:
                _take_own(path, images)
    _name_files(dataset, root)


def _take_own(path: Path, images: dict[str | None, _Element]) -> None:
    """Replace the pixels of the images that lie in this file alone by its own copy."""
    try:
        with _xml(path) as chunks:
            other, _ = ome_xml.document(chunks)
    except (ome_xml.UnreadableError, OSError):
        return
    for image in other.findall("{*}Image"):
        mine = images.get(image.get("ID"))
        old, new = (None if mine is None else mine.find("{*}Pixels")), image.find("{*}Pixels")
        uuids = {uuid.text for uuid in image.findall("{*}Pixels/{*}TiffData/{*}UUID")}
        if mine is None or old is None or new is None or uuids != {other.get("UUID")}:
            continue
        # Annotations belong to the other document; the file keeps them.
        for reference in list(new.iter("{*}AnnotationRef")):
            parent = reference.getparent()
            if parent is not None:
                parent.remove(reference)
        mine.replace(old, new)


def _name_files(dataset: Dataset, root: _Element) -> None:
    """Every TiffData names its file relative to the dataset."""
    from lxml import etree

    relative = shown(dataset.main.relative_to(dataset.root).as_posix())
    single = len(dataset.files) == 1 and not dataset.missing
    for block in root.iterfind("{*}Image/{*}Pixels/{*}TiffData"):
        uuid = block.find("{*}UUID")
        if uuid is None:
            if not root.get("UUID") or _is_companion(dataset.main):
                continue
            uuid = etree.SubElement(block, str(block.tag).replace("TiffData", "UUID"))
            uuid.text = root.get("UUID")
            uuid.set("FileName", relative)
            continue
        named = beside(dataset.root, uuid.get("FileName", ""))
        if single:
            uuid.set("FileName", relative)
        elif named is not None:
            uuid.set("FileName", shown(named.relative_to(dataset.root).as_posix()))
