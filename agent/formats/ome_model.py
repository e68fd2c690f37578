"""OME-XML of any age, with the small faults that writers make, as the ome-types model of 2016-06."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from agent.formats.ome_xml import NAMESPACE, UnreadableError

if TYPE_CHECKING:
    from lxml.etree import XMLSchema, _Element
    from ome_types import OME

_FC = "http://www.openmicroscopy.org/XMLschemas/OME/FC/ome.xsd"
_ROOT = NAMESPACE.rpartition("/")[0]
_MISSPELT = ((b"Schemas/ome/", b"Schemas/OME/"), (b"Schemas/sa/", b"Schemas/SA/"), (b'/2013-06s"', b'/2013-06"'))
"""What writers made of the namespace."""
_NOT_UNDERSTOOD = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, NotImplementedError, OSError)
"""What ome-types raises, all of it seen."""


@cache
def schema() -> XMLSchema:
    """Of OME-XML 2016-06."""
    import ome_types
    from lxml import etree

    return etree.XMLSchema(etree.parse(Path(ome_types.__file__).parent / "ome-2016-06.xsd"))


def to_ome(root: _Element) -> tuple[OME, tuple[str, ...]]:
    """The model of a document of any version, and a line for each thing that does not follow the schema and was left
    out. Raises UnreadableError when no image can be understood."""
    from agent.formats.ome_mending import Fault, leave_out_dates, mend

    document = _current(root)
    left_out = leave_out_dates(document)
    for faults in (None, Fault.VALUE, Fault.ANY):
        if faults is not None:
            left_out += mend(document, faults)
        try:
            ome = _model(document)
        except UnreadableError:
            if faults is Fault.ANY:
                raise
        else:
            break
    if left_out and not ome.images:
        raise UnreadableError(f"the OME-XML does not follow its schema: {left_out[0]}")
    return _complete(ome), tuple(left_out)


def _model(document: _Element) -> OME:
    import warnings

    import ome_types
    from lxml import etree

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ome_types.from_xml(etree.tostring(document))
    except (*_NOT_UNDERSTOOD, etree.LxmlError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableError(f"the OME-XML does not follow its schema: {line}") from None


def _namespace(root: _Element) -> str:
    return str(root.tag).rpartition("}")[0].lstrip("{")


def _current(root: _Element) -> _Element:
    """The document in the words of 2016-06, by the sheets that ome-types ships. Raises UnreadableError.

    ome-types would apply a sheet for ever that does not know the document's namespace.
    """
    from lxml import etree

    if any(bad.strip(b'"') in _namespace(root).encode() for bad, _ in _MISSPELT):
        text = etree.tostring(root)
        for bad, good in _MISSPELT:
            text = text.replace(bad, good)
        root = etree.fromstring(text, etree.XMLParser(resolve_entities=False, no_network=True))
    while (space := _namespace(root)) != NAMESPACE:
        sheet = _sheet(space)
        try:
            newer = None if sheet is None else _apply(sheet, root)
        except etree.LxmlError as error:
            raise UnreadableError(f"the OME-XML of {space} cannot be brought to 2016-06: {error}") from None
        if newer is None or _namespace(newer) == space:
            raise UnreadableError(f"the OME-XML is of a version that is not known: {space[:200] or 'none'}")
        root = newer
    return root


def _sheet(space: str) -> Path | None:
    """The style sheet to the next version; None where there is none."""
    import ome_types

    version = "2003-FC" if space == _FC else space.removeprefix(f"{_ROOT}/")
    folder = Path(ome_types.__file__).parent / "transforms"
    return next((sheet for sheet in folder.glob("*.xsl") if sheet.name.startswith(f"{version}-to-")), None)


def _apply(sheet: Path, root: _Element) -> _Element | None:
    from lxml import etree

    made = etree.XSLT(etree.parse(sheet), access_control=etree.XSLTAccessControl.DENY_ALL)(root)
    return made.getroot()


def _complete(ome: OME) -> OME:
    """Pixels within the text stay in the text; pixels of which nothing is said are said to be elsewhere."""
    from ome_types.model import MetadataOnly

    for image in ome.images:
        pixels = image.pixels
        pixels.bin_data_blocks = []
        if not pixels.tiff_data_blocks:
            pixels.metadata_only = MetadataOnly()
    return ome
