"""Imaris IMS: an HDF5 file with resolution levels, and a DataSetInfo group of short texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import hdf5_layout, ome_build
from agent.formats.guarded import attempt, guarded
from agent.formats.parts import Parts, date, given, number, positive
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.single import alone

if TYPE_CHECKING:
    from h5py import File
    from ome_types import OME

_MAX_ATTRIBUTE = 1 << 16
_MAX_GROUPS = 2000
Texts = dict[str, dict[str, str]]


class Imaris:
    """An image."""

    name = "ims"

    def matches(self, path: Path) -> bool:
        return (
            path.suffix.lower() == ".ims" and path.is_file() and (not path.stat().st_size or hdf5_layout.is_hdf5(path))
        )

    def dataset(self, path: Path) -> Dataset:
        return alone(self.name, path)

    def is_whole(self, dataset: Dataset) -> Verdict:
        return hdf5_layout.verdict(dataset.main)

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """None: chunks that were never written leave no trace in the header."""
        del dataset
        return None

    def metadata(self, dataset: Dataset) -> Metadata:
        found = hdf5_layout.verdict(dataset.main)
        if found.state in (Wholeness.DAMAGED, Wholeness.GROWING):
            return Metadata(errors=(f"{dataset.main.name}: {found.reason}",))
        return guarded(dataset.main, lambda: _read(dataset.main))


def _read(path: Path) -> Metadata:
    import h5py

    with h5py.File(path, "r", locking=False) as file:
        texts = _texts(file)
        ome, errors = attempt(path, lambda: _ome(path, file, texts))
    about = texts.get("Imaris", {})
    return Metadata(ome, {"Imaris": about["Version"]} if about.get("Version") else {}, {"imaris": texts}, errors)


def _texts(file: File) -> Texts:
    """The attributes of each group of DataSetInfo; Imaris writes texts as arrays of single letters."""
    found: Texts = {}
    info = file["DataSetInfo"]
    for name in list(info)[:_MAX_GROUPS]:
        values = {}
        for key in info[name].attrs:
            attribute = info[name].attrs.get_id(key)
            if attribute.get_storage_size() <= _MAX_ATTRIBUTE:
                raw = info[name].attrs[key]
                values[key] = raw.tobytes().decode("utf-8", "replace") if hasattr(raw, "tobytes") else str(raw)
        found[name] = values
    return found


def _ome(path: Path, file: File, texts: Texts) -> OME:
    about = texts.get("Image", {})
    channels = sorted((name for name in texts if name.startswith("Channel ")), key=lambda name: int(name[8:]))
    level = file["DataSet/ResolutionLevel 0"]
    sizes = {axis: int(about[axis.upper()]) for axis in "xyz"} | {
        "c": len([name for name in level["TimePoint 0"] if name.startswith("Channel ")]),
        "t": len([name for name in level if name.startswith("TimePoint ")]),
    }
    kind = ome_build.pixel_type(str(level["TimePoint 0/Channel 0/Data"].dtype))
    if kind is None:
        raise ValueError("the pixels have no place in OME")
    unit = ome_build.length_unit(about.get("Unit", "um"))
    steps: dict[str, tuple[float, str]] = {}
    for index, axis in enumerate("xyz"):
        low, high = number(about.get(f"ExtMin{index}")), number(about.get(f"ExtMax{index}"))
        if unit and low is not None and high is not None and high > low and (axis != "z" or sizes["z"] > 1):
            steps[axis] = ((high - low) / sizes[axis], unit)
    parts = Parts()
    image = ome_build.image(
        0,
        path.stem,
        sizes,
        kind,
        steps=steps,
        channels=[_channel(texts[name]) for name in channels] if len(channels) == sizes["c"] else [],
        date=date(about.get("RecordingDate"), "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S"),
    )
    image.objective_settings = parts.objective(
        lens_na=positive(about.get("NumericalAperture")), nominal_magnification=positive(about.get("LensPower"))
    )
    return parts.ome([image])


def _channel(said: dict[str, str]) -> dict[str, Any]:
    return given(
        name=said.get("Name"),
        emission_wavelength=positive(said.get("LSMEmissionWavelength")),
        excitation_wavelength=positive(said.get("LSMExcitationWavelength")),
    )
