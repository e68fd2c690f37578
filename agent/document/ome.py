"""The OME-XML of an acquisition: built once, written for the companion, for each TIFF and for OME-Zarr."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass

from lxml import etree

from agent.acquisition import Acquisition
from agent.contract.record import Captured, Tier
from agent.document.annotations import Annotations, metric_pairs, pairs
from agent.document.context import Context
from agent.document.image_xml import MARK, Common, write_image
from agent.document.instrument_xml import write_instrument
from agent.document.order import NS, make, text
from agent.document.planes_xml import Naming, blocks_text, files_of, planes_text
from agent.document.rembi import image_acquisition
from agent.snapshot import Image, Snapshot

_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_LOCATION = f"{NS} {NS}/ome.xsd"
_PLACE = f"<!--{MARK}-->".encode()
_ROOT_ID = "urn:uuid:00000000-0000-0000-0000-000000000000"
_XMLNS = f' xmlns="{NS}" xmlns:xsi="{_XSI}"'.encode()


@dataclass(frozen=True, slots=True)
class Sheet:
    """The document in pieces: what varies between its copies is put between them."""

    head: bytes
    pieces: tuple[tuple[bytes, bytes], ...]
    """Of each image what stands before and after its TiffData and planes."""
    planes: tuple[bytes, ...]
    tail: bytes
    images: tuple[Image, ...]
    uuids: dict[str, str]
    """UUID of each data file that the images name."""

    def write(
        self,
        own: str,
        naming: Naming | None,
        only: Collection[int] | None = None,
        planes_of: Collection[int] | None = None,
        itself: str | None = None,
    ) -> bytes:
        """One copy with UUID `own`. `naming` None: MetadataOnly. `only` and `planes_of`: image numbers, None all.

        `itself`: the data file that the copy is embedded in.
        """
        said = [image for number, image in enumerate(self.images) if only is None or number in only]
        alone = itself if files_of(said) == [itself] else None
        out = [self.head.replace(_ROOT_ID.encode(), own.encode(), 1)]
        for number, (before, after) in enumerate(self.pieces):
            if only is not None and number not in only:
                continue
            planes = self.planes[number] if planes_of is None or number in planes_of else b""
            out += [before, blocks_text(self.images[number], self.uuids, naming, alone), planes, after]
        return b"".join([*out, self.tail])

    @property
    def size(self) -> int:
        """Bytes of a copy without its planes, about."""
        blocks = sum(len(image.blocks) for image in self.images) * 180
        return len(self.head) + len(self.tail) + sum(len(a) + len(b) for a, b in self.pieces) + blocks

    @property
    def self_contained(self) -> bool:
        """Can images be left out without breaking a reference (of a plate, a folder) to them?"""
        return b"ImageRef" not in self.head and b"ImageRef" not in self.tail


def file_uuid(acquisition: Acquisition, name: str) -> str:
    """The UUID of a file of an acquisition: the same whenever it is documented."""
    return f"urn:uuid:{uuid.uuid5(uuid.UUID(acquisition.id), name)}"


def sheet(context: Context, acquisition: Acquisition, snapshot: Snapshot, completeness: dict[str, Tier]) -> Sheet:
    """Build the document of an acquisition."""
    root = _root(snapshot)
    # The id is put in for each copy; what wrote the files is in the annotations.
    root.attrib.pop("UUID", None)
    root.set("UUID", _ROOT_ID)
    root.set("Creator", f"scope-agent {context.agent_version}")
    notes = Annotations()
    common = Common(
        snapshot=snapshot,
        components={component.id: component for component in snapshot.components},
        instrument=write_instrument(root, snapshot, notes),
        experimenter=_experimenter(root, snapshot),
        hooked=bool(snapshot.device_state),
        about=_about(context, acquisition, snapshot, completeness),
        notes=notes,
    )
    present = root.findall(f"{{{NS}}}Image")
    elements = [
        write_image(root, present[number] if number < len(present) else None, number, image, common)
        for number, image in enumerate(snapshot.images)
    ]
    states = [notes.number("plane-state", tuple(state.items())) for state in snapshot.plane_states]
    notes.write(root)
    etree.indent(root)
    uuids = {name: file_uuid(acquisition, name) for name in files_of(snapshot.images)}
    uuids |= {b.file: b.uuid for i in snapshot.images for b in i.blocks if b.file and b.uuid}
    return _cut(root, elements, snapshot, uuids, states)


def _root(snapshot: Snapshot) -> etree._Element:
    if snapshot.skeleton is not None:
        parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, huge_tree=True)
        return etree.fromstring(snapshot.skeleton, parser)
    root = etree.Element(f"{{{NS}}}OME", nsmap={None: NS, "xsi": _XSI})
    root.set(f"{{{_XSI}}}schemaLocation", _LOCATION)
    return root


def _cut(
    root: etree._Element,
    elements: list[etree._Element],
    snapshot: Snapshot,
    uuids: dict[str, str],
    states: list[str],
) -> Sheet:
    """Serialise, with the images apart from the rest and each image open where its planes belong."""
    pieces = []
    for element in elements:
        before, _, after = _bare(element).partition(_PLACE)
        pieces.append((before, after.rstrip() + b"\n"))
    place = etree.Comment(MARK)
    if elements:
        elements[0].addprevious(place)
    else:
        root.append(place)
    for element in elements:
        root.remove(element)
    whole = etree.tostring(root, encoding="UTF-8", xml_declaration=True)
    head, _, tail = whole.partition(_PLACE)
    planes = tuple(b"" if image.keeps_planes else planes_text(image.planes, states) for image in snapshot.images)
    return Sheet(head, tuple(pieces), planes, tail, snapshot.images, uuids)


def _bare(element: etree._Element) -> bytes:
    """The element's text without the namespace declarations that the root already has."""
    return etree.tostring(element, encoding="UTF-8", with_tail=False).replace(_XMLNS, b"", 1)


def _experimenter(root: etree._Element, snapshot: Snapshot) -> str | None:
    user = snapshot.session.user
    known = root.find(f"{{{NS}}}Experimenter")
    if user is None or user.source == "file":
        return None if known is None else known.get("ID")
    made = make(root, "Experimenter")
    made.set("ID", "Experimenter:scope-agent-session")
    made.set("UserName", text(user.value))
    return made.get("ID")


def _about(
    context: Context, acquisition: Acquisition, snapshot: Snapshot, completeness: dict[str, Tier]
) -> list[tuple[str, list[tuple[str, str]]]]:
    """What is said of every image: where the rest is, calibration, session, how complete this is."""
    run = [
        ("Acquisition", acquisition.id),
        ("Name", acquisition.name),
        ("Site", context.site),
        ("Instrument", context.instrument),
        ("FinishReason", str(acquisition.reason)),
        ("Record", "acquisition.json"),
    ]
    if snapshot.device_state:
        run.append(("DeviceState", "device-state.json.gz"))
    software = [(name, version) for name, version in sorted(snapshot.software.items()) if version]
    session = {role: getattr(snapshot.session, role) for role in ("user", "project", "sample")}
    quality = metric_pairs(snapshot.calibration.metrics)
    who: dict[str, Captured] = {role: value for role, value in session.items() if value is not None}
    return [
        ("acquisition", run),
        ("software", [*software, ("scope-agent", context.agent_version)]),
        ("calibration", [*pairs(snapshot.pixel_size), *([] if quality else [("QualityControl", "none")])]),
        ("qc", quality),
        ("session", pairs(who)),
        ("rembi", list(image_acquisition(snapshot).items())),
        ("completeness", [(tier, f"{t.filled}/{t.required}") for tier, t in completeness.items()]),
    ]
