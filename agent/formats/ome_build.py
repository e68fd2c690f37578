"""An OME image from plain facts, the same way for every format. Unknown facts are left out, never guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ome_types.model import Image

_TYPES = {
    "float32": "float",
    "float64": "double",
    "f4": "float",
    "f8": "double",
    "complex64": "complex",
    "complex128": "double-complex",
    "c8": "complex",
    "c16": "double-complex",
    "bool": "bit",
    "b1": "bit",
}
_LENGTHS = {
    "micrometer": "µm",
    "micron": "µm",
    "microns": "µm",
    "um": "µm",
    "µm": "µm",
    "μm": "µm",
    "\\u00b5m": "µm",
    "nanometer": "nm",
    "nm": "nm",
    "millimeter": "mm",
    "mm": "mm",
    "centimeter": "cm",
    "cm": "cm",
    "meter": "m",
    "m": "m",
    "angstrom": "Å",
    "inch": "in",
}

MAX_CHANNELS = 10_000
"""More are a damaged header; a spectral image has hundreds."""


def channel_range(count: int) -> range:
    """The numbers of so many channels. Raises ValueError where a damaged header claims millions."""
    if not 0 < count <= MAX_CHANNELS:
        raise ValueError(f"{count} channels are no image")
    return range(count)


def pixel_type(dtype: str) -> str | None:
    """OME pixel type of a numpy or Zarr data type name; None where OME has none."""
    plain = dtype.lstrip("<>|=")
    if short := re.fullmatch(r"([ui])([124])", plain):
        return f"{'u' if short[1] == 'u' else ''}int{int(short[2]) * 8}"
    return plain if re.fullmatch(r"u?int(8|16|32)", plain) else _TYPES.get(plain)


def length_unit(name: object) -> str | None:
    """OME symbol of a length unit as software spells it; None where it is not known."""
    return _LENGTHS.get(str(name).strip().lower())


def image(
    number: int,
    name: str,
    sizes: Mapping[str, int],
    pixels: str,
    *,
    steps: Mapping[str, tuple[float, str]] | None = None,
    increment_s: float | None = None,
    channels: Sequence[Mapping[str, Any]] = (),
    samples: int = 1,
    planes: Sequence[Mapping[str, Any]] = (),
    date: datetime | str | None = None,
    significant_bits: int | None = None,
    more: Mapping[str, Any] | None = None,
) -> Image:
    """Image `number`: `sizes` by axis letter, `steps` as (length, OME unit) by axis, `pixels` an OME type.

    `channels` and `planes` hold ome-types fields; there are `sizes["c"]` channels of `samples` values each.
    `more` are further ome-types fields of the image (description, objective settings and so on).
    Raises ValueError when the facts cannot be an image.
    """
    from ome_types import model

    fields: dict[str, Any] = {f"size_{axis}": sizes.get(axis, 1) for axis in "xyzt"}
    count = sizes.get("c", 1)
    if not 0 < count * samples <= MAX_CHANNELS:
        raise ValueError(f"{count} channels of {samples} samples are no image")
    for axis, (step, unit) in (steps or {}).items():
        if step > 0:
            fields |= {f"physical_size_{axis}": step, f"physical_size_{axis}_unit": unit}
    if significant_bits:
        fields["significant_bits"] = significant_bits
    if increment_s:
        fields["time_increment"] = increment_s
    said = [*channels[:count], *[{}] * (count - len(channels))]
    built = model.Pixels(
        id=f"Pixels:{number}",
        dimension_order=model.Pixels_DimensionOrder.XYCZT,
        type=model.PixelType(pixels),
        size_c=count * samples,
        channels=[
            model.Channel(id=f"Channel:{number}:{c}", samples_per_pixel=samples, **channel)
            for c, channel in enumerate(said)
        ],
        planes=[model.Plane(**plane) for plane in planes],
        metadata_only=model.MetadataOnly(),
        **fields,
    )
    when: dict[str, Any] = {"acquisition_date": date} if date else {}
    return model.Image(id=f"Image:{number}", name=name, pixels=built, **when, **(more or {}))
