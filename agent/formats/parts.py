"""The parts of a microscope as OME wants them: each once, with the references that images and channels hold.

Everything that is None, empty or not a number is left out; nothing is guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from ome_types import OME, model
    from ome_types.model import Image

E = TypeVar("E", bound=Enum)
_UNRELIABLE = "unreliable: the name that the acquisition software was set to, nobody proved it"
_SPELLINGS = {
    "glyc": "glycerol",
    "dry": "air",
    "imm": "other",
    "h2o": "water",
    "led": "lightemittingdiode",
    "laserscanningconfocal": "laserscanningconfocalmicroscopy",
    "spinningdisk": "spinningdiskconfocal",
    "confocal": "laserscanningconfocalmicroscopy",
    "photomultiplier": "pmt",
    "gaaspap": "apd",
}


def number(text: object) -> float | None:
    """A finite number, from text too; None for everything else."""
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def positive(text: object) -> float | None:
    """A number above 0; vendors write 0 and -1 where they do not know."""
    value = number(text)
    return value if value is not None and value > 0 else None


def first_number(text: str | None) -> float | None:
    """The number that a text begins with or contains, `200 msec` or `Exposure: 200`."""
    found = re.search(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?", text or "")
    return number(found[0]) if found else None


def given(**fields: Any) -> dict[str, Any]:
    """The fields that say something."""
    return {k: v for k, v in fields.items() if not (v is None or v == "" or (isinstance(v, float) and math.isnan(v)))}


def choice(kind: type[E], text: str | None) -> E | None:
    """The member of an OME enumeration that a vendor's word means; None when it is none of them."""
    plain = re.sub(r"[^a-z0-9]", "", (text or "").lower())
    plain = _SPELLINGS.get(plain, plain)
    for one in kind:
        if re.sub(r"[^a-z0-9]", "", str(one.value).lower()) == plain:
            return None if one.value == "Other" else one
    return None


def plane(
    z: int,
    c: int,
    t: int,
    *,
    delta_s: float | None = None,
    exposure_s: float | None = None,
    um: Sequence[float | None] = (),
) -> dict[str, Any]:
    """Fields of an OME plane: seconds since the image's date, seconds of light, stage x, y, z in micrometres."""
    fields: dict[str, Any] = {"the_z": z, "the_c": c, "the_t": t}
    fields |= given(delta_t=delta_s, exposure_time=exposure_s if exposure_s is None or exposure_s >= 0 else None)
    for axis, value in zip("xyz", um, strict=False):
        if value is not None and math.isfinite(value):
            fields |= {f"position_{axis}": value, f"position_{axis}_unit": "µm"}
    return fields


def date(text: object, *forms: str) -> datetime | None:
    """A date as ISO 8601 or one of `forms`, with its zone where it says one; None for the year 1 and for nonsense."""
    plain = str(text or "").strip()
    # Vendors write seven digits of a second, Python takes six.
    plain = re.sub(r"(\.\d{6})\d+", r"\1", plain)
    for form in forms:
        try:
            return datetime.strptime(plain, form)  # noqa: DTZ007 - many formats know no zone
        except ValueError:
            continue
    try:
        found = datetime.fromisoformat(plain)
    except ValueError:
        return None
    return found if found.year > 1900 else None


class Parts:
    """One instrument in the making. Parts without any fact are not made; equal parts are made once."""

    def __init__(self) -> None:
        from ome_types import model

        self._model = model
        self._kept: dict[str, dict[str, tuple[str, Any]]] = {}
        self.microscope: model.Microscope | None = None

    def _part(self, kind: str, known: str, fields: dict[str, Any]) -> str | None:
        if not fields:
            return None
        kept = self._kept.setdefault(kind, {})
        if known not in kept:
            identity = f"{kind}:{len(kept)}"
            kept[known] = (identity, getattr(self._model, kind)(id=identity, **fields))
        return kept[known][0]

    def name_microscope(self, model: str | None, manufacturer: str | None = None, kind: str | None = None) -> None:
        """Model, manufacturer, and upright or inverted."""
        fields = given(model=model, manufacturer=manufacturer, type=choice(self._model.Microscope_Type, kind))
        self.microscope = self._model.Microscope(**fields) if fields else None

    def objective(
        self,
        *,
        immersion: str | None = None,
        correction: str | None = None,
        refractive_index: float | None = None,
        medium: str | None = None,
        working_distance_um: float | None = None,
        **facts: Any,
    ) -> model.ObjectiveSettings | None:
        """Settings that refer to it; `facts` are model, lens_na, nominal_magnification, manufacturer and so on."""
        fields = given(
            immersion=choice(self._model.Objective_Immersion, immersion),
            correction=choice(self._model.Objective_Correction, correction),
            **facts,
        )
        if working_distance_um:
            fields |= {"working_distance": working_distance_um, "working_distance_unit": "µm"}
        identity = self._part("Objective", repr(sorted(map(str, fields.items()))), fields)
        if identity is None:
            return None
        more = given(refractive_index=refractive_index, medium=choice(self._model.ObjectiveSettings_Medium, medium))
        return self._model.ObjectiveSettings(id=identity, **more)

    def detector(
        self,
        *,
        kind: str | None = None,
        binning: str | None = None,
        settings: dict[str, Any] | None = None,
        **facts: Any,
    ) -> model.DetectorSettings | None:
        """Settings that refer to it; `facts` are model, manufacturer, serial_number; binning as `2x2`."""
        fields = given(type=choice(self._model.Detector_Type, kind), **facts)
        identity = self._part("Detector", repr(sorted(map(str, fields.items()))), fields)
        if identity is None:
            return None
        plain = re.sub(r"\s*[,x]\s*", "x", (binning or "").strip())
        more = given(binning=choice(self._model.Binning, plain), **(settings or {}))
        return self._model.DetectorSettings(id=identity, **more)

    def light(
        self, kind: str | None, *, wavelength_nm: float | None = None, power_mw: float | None = None, **facts: Any
    ) -> str | None:
        """Identity of a light source; `kind` is Laser, LightEmittingDiode, Arc or Filament."""
        made = kind if kind in ("Laser", "LightEmittingDiode", "Arc", "Filament") else "GenericExcitationSource"
        fields = given(**facts)
        if power_mw is not None and power_mw > 0:
            fields |= {"power": power_mw, "power_unit": "mW"}
        if made == "Laser" and wavelength_nm:
            fields |= {"wavelength": wavelength_nm, "wavelength_unit": "nm"}
        known = repr((made, sorted(map(str, fields.items())), wavelength_nm))
        if not fields and wavelength_nm is None:
            return None
        lights = self._kept.setdefault("LightSource", {})
        if known not in lights:
            identity = f"LightSource:{len(lights)}"
            lights[known] = (identity, getattr(self._model, made)(id=identity, **fields))
        return lights[known][0]

    def light_settings(
        self, identity: str | None, wavelength_nm: float | None = None, attenuation: float | None = None
    ) -> model.LightSourceSettings | None:
        """How a channel used a light source; attenuation 0 to 1."""
        if identity is None:
            return None
        fields: dict[str, Any] = {"id": identity}
        if wavelength_nm and wavelength_nm > 0:
            fields |= {"wavelength": wavelength_nm, "wavelength_unit": "nm"}
        if attenuation is not None and 0 <= attenuation <= 1:
            fields["attenuation"] = attenuation
        return self._model.LightSourceSettings(**fields)

    def filter(self, *, cut_nm: tuple[float | None, float | None] = (None, None), **facts: Any) -> str | None:
        """Identity of a filter; `cut_nm` is where its transmission begins and ends."""
        fields = given(**facts)
        between = given(cut_in=positive(cut_nm[0]), cut_out=positive(cut_nm[1]))
        if between:
            between |= {f"{name}_unit": "nm" for name in between}
            fields["transmittance_range"] = self._model.TransmittanceRange(**between)
        return self._part("Filter", repr(sorted(map(str, fields.items()))), fields)

    def dichroic(self, **facts: Any) -> str | None:
        """Identity of a dichroic mirror."""
        fields = given(**facts)
        return self._part("Dichroic", repr(sorted(map(str, fields.items()))), fields)

    def light_path(
        self, excitation: Sequence[str | None] = (), dichroic: str | None = None, emission: Sequence[str | None] = ()
    ) -> model.LightPath | None:
        """What the light of a channel passes; None when nothing is known of it."""
        fields: dict[str, Any] = {
            "excitation_filters": [self._model.FilterRef(id=one) for one in excitation if one],
            "emission_filters": [self._model.FilterRef(id=one) for one in emission if one],
        }
        if dichroic:
            fields["dichroic"] = self._model.DichroicRef(id=dichroic)
        return self._model.LightPath(**fields) if any(fields.values()) else None

    def ome(self, images: Sequence[Image], operator: str | None = None) -> OME:
        """The document: these images, all of which were taken with this instrument."""
        from ome_types import OME

        fields: dict[str, Any] = {"images": list(images)}
        kept = {kind: [part for _, part in parts.values()] for kind, parts in self._kept.items()}
        if self.microscope is not None or any(kept.values()):
            fields["instruments"] = [
                self._model.Instrument(
                    id="Instrument:0",
                    microscope=self.microscope,
                    objectives=kept.get("Objective", []),
                    detectors=kept.get("Detector", []),
                    filters=kept.get("Filter", []),
                    dichroics=kept.get("Dichroic", []),
                    **self._lights(kept.get("LightSource", [])),
                )
            ]
            for image in images:
                image.instrument_ref = self._model.InstrumentRef(id="Instrument:0")
        if operator:
            fields |= self._operator(operator, images)
        return OME(**fields)

    def _lights(self, lights: list[Any]) -> dict[str, list[Any]]:
        places = {
            "Laser": "lasers",
            "LightEmittingDiode": "light_emitting_diodes",
            "Arc": "arcs",
            "Filament": "filaments",
            "GenericExcitationSource": "generic_excitation_sources",
        }
        return {place: [one for one in lights if type(one).__name__ == kind] for kind, place in places.items()}

    def _operator(self, name: str, images: Sequence[Image]) -> dict[str, Any]:
        """The person, with the mark that the name proves nothing."""
        note = self._model.CommentAnnotation(id="Annotation:Operator", value=_UNRELIABLE)
        reference = self._model.AnnotationRef(id=note.id)
        person = self._model.Experimenter(id="Experimenter:0", user_name=name, annotation_refs=[reference])
        for image in images:
            image.experimenter_ref = self._model.ExperimenterRef(id=person.id)
        return {
            "experimenters": [person],
            "structured_annotations": self._model.StructuredAnnotations(comment_annotations=[note]),
        }
