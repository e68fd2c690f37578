"""Which NBO fields of the Micro-Meta App are which keys of a profile, and in which unit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LIGHTS = ("Laser", "LightEmittingDiode", "Arc", "Filament", "GenericExcitationSource")
TABLES = {
    "Objective": "objective",
    **dict.fromkeys(("CCD", "CMOS", "IntensifiedCamera", "PhotoMultiplierTube", "HybridPhotoDetector", "PhotoDiode"),
                    "detector"),
    **dict.fromkeys(("ExcitationFilter", "EmissionFilter", "NeutralDensityFilter"), "filter"),
    **dict.fromkeys(("StandardDichroic", "GenericDichroic"), "dichroic"),
    **dict.fromkeys(("MechanicalStage", "PiezoElectricStage"), "stage"),
    **dict.fromkeys(("Z-Drive", "TurretObjectiveFocusing", "IndividualObjectiveFocusing"), "focus"),
    "FocusStabilizationDevice": "autofocus",
    "EnvironmentalControlDevice": "environment",
}  # fmt: skip
_LENGTH = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "um": 1.0, "nm": 1e-3}
_SCALES: dict[str, dict[str, float]] = {
    "um": _LENGTH,
    "mm": {unit: factor / 1e3 for unit, factor in _LENGTH.items()},
    "nm": {unit: factor * 1e3 for unit, factor in _LENGTH.items()},
    "mW": {"W": 1e3, "mW": 1.0, "µW": 1e-3},
    "MHz": {"MHz": 1.0, "kHz": 1e-3, "GHz": 1e3},
    "Hz": {"fps": 1.0, "Hz": 1.0},
    "e-": {"e-": 1.0, "e- rms": 1.0},
    "e-/s": {"e-/Pixel/sec": 1.0, "e-/s": 1.0},
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A field of the app; `unit` is that of our key, None for text and plain numbers."""

    name: str
    unit: str | None = None
    unit_field: str = ""
    """Where the app keeps the unit, when not in the field's name with `Unit` behind it."""
    words: dict[str, Any] = field(default_factory=dict)
    """Their words to ours; a word that is not here stays as it is."""
    inside: str = ""
    """The list of one that holds the field."""
    more: bool = False
    """The field says more than our key does."""

    @property
    def exact(self) -> bool:
        """Can the field be told from our key again? If not, both are kept."""
        return not (self.words or self.inside or self.more)


def _rule(name: str, unit: str | None = None, **more: Any) -> Rule:
    more.setdefault("unit_field", f"{name}Unit" if unit else "")
    return Rule(name, unit, **more)


_MAKER = {
    "manufacturer": _rule("Manufacturer"),
    "model": _rule("Model"),
    "catalogue_number": _rule("CatalogNumber"),
    "serial_number": _rule("SerialNumber"),
    "lot_number": _rule("LotNumber"),
}
_IMMERSION = {
    "Mineral Oil": "Oil", "Silicone Oil": "Oil", "Silicon Oil": "Oil", "Water Dipping": "WaterDipping",
    "Glycerin": "Glycerol", "Multi Immersion": "Multi",
}  # fmt: skip
_YES = {"None": False, "No": False, "False": False, "True": True, "Yes": True}
_OPTICAL = {
    **_MAKER,
    "type": _rule("Type"),
    "coating": _rule("CoatingMethod"),
    "location": _rule("LightPathLocation"),
    "attenuation": _rule("AttenuationMethod"),
    "bands_nm": Rule("TransmittanceRange", more=True),
}
_MOVER = {
    **_MAKER,
    "encoded": _rule("Encoded"),
    "motorized": _rule("Motorized"),
    "built_in": _rule("BuiltIn"),
    "axes": _rule("MovementAxes"),
    "z_repeatability_um": _rule("ZRepeatability", "um"),
}
FIELDS: dict[str, dict[str, Rule]] = {
    "microscope": {**_MAKER, "stand": _rule("Type"), "description": _rule("Description")},
    "objective": {
        **_MAKER,
        "magnification": _rule("Magnification"),
        "calibrated_magnification": _rule("CalibratedMagnification"),
        "na": _rule("LensNA"),
        "immersion": _rule("ImmersionType", words=_IMMERSION),
        "correction": _rule("Correction"),
        "working_distance_um": _rule("WorkingDistance", "um"),
        "infinity_corrected": _rule("InfinityCorrected"),
        "contrast_modulation": _rule("ContrastModulation"),
        "dic": _rule("DIC"),
        "correction_collar": _rule("CorrectionCollar"),
        "view_field_mm": _rule("ObjectiveViewField"),
        "image_distance_mm": _rule("ImageDistance", "mm"),
    },
    "detector": {
        **_MAKER,
        "type": _rule("Type"),
        "pixel_width_um": _rule("PixelWidth", "um"),
        "pixel_height_um": _rule("PixelHeight", "um"),
        "max_bit_depth": _rule("MaxBitDepth"),
        "quantum_efficiency": _rule("QuantumEfficiency"),
        "conversion_factor_e_per_adu": _rule("ElectronicConversionFactor"),
        "read_noise_e": _rule("ReadOutNoise", "e-", unit_field="ReadNoiseUnit"),
        "noise_model": _rule("DetectorNoiseModel"),
        "dark_current_e_per_s": _rule("DarkCurrentRate", "e-/s"),
        "illumination": _rule("Illumination"),
        "cut_on_nm": _rule("CutOn", "nm", inside="WavelengthRange"),
        "cut_off_nm": _rule("CutOff", "nm", inside="WavelengthRange"),
        "well_capacity_e": _rule("PixelWellCapacity", "e-"),
        "max_frame_rate_hz": _rule("MaximumFrameRate", "Hz"),
        "max_readout_rate_mhz": _rule("MaximumReadoutRate", "MHz"),
        "sensor_width_px": _rule("ArrayWidth"),
        "sensor_height_px": _rule("ArrayHeight"),
    },
    "filter": {**_OPTICAL, "optical_density": _rule("OpticalDensity"), "density_type": _rule("NDType")},
    "dichroic": {**_OPTICAL, "mirror_type": _rule("MirrorType")},
    "light": {
        **_MAKER,
        "type": _rule("Type"),
        "wavelength_nm": _rule("PeakWavelength", "nm", inside="IlluminationWavelengthRange"),
        "power_mw": _rule("IlluminationPower", "mW", inside="IlluminationWavelengthRange"),
        "laser_medium": _rule("LaserMedium"),
        "tuneable": _rule("Tuneable"),
        "pulsed": _rule("Pulse", words={"CW": False, "Pulsed": True, "False": False, "True": True}),
        "modulation": _rule("ModulationMechanism"),
        "is_pump": _rule("IsPump"),
        "is_pumped": _rule("IsPumped"),
    },
    "stage": {
        **_MOVER,
        "xy_repeatability_um": _rule("XYRepeatability", "um"),
        "x_travel_mm": _rule("XTravelRange", "mm"),
        "y_travel_mm": _rule("YTravelRange", "mm"),
    },
    "focus": _MOVER,
    "autofocus": {**_MAKER, "mechanism": _rule("Mechanism")},
    "environment": {
        **_MAKER,
        "temperature_control": _rule("TemperatureControl", words=_YES),
        "humidity_control": _rule("HumidityControl", words=_YES),
        "co2_control": _rule("CO2Control", words=_YES),
        "o2_control": _rule("O2Control", words=_YES),
    },
    "other": _MAKER,
}


def converted(rule: Rule, component: dict[str, Any]) -> Any:
    """The value of a key, None where the field says nothing: a blank, a zero that means nobody knew, an odd unit."""
    place = component
    if rule.inside:
        inner = component.get(rule.inside)
        if not isinstance(inner, list) or len(inner) != 1 or not isinstance(inner[0], dict):
            return None
        place = inner[0]
    value = place.get(rule.name)
    if rule.name == "TransmittanceRange":
        return _bands(value)
    if isinstance(value, str):
        value = value.strip()
    if value is None or value == "" or (value == 0 and not isinstance(value, bool)):
        return None
    if rule.unit is not None and isinstance(value, int | float):
        factor = _SCALES[rule.unit].get(str(place.get(rule.unit_field) or ""))
        return None if factor is None else float(f"{value * factor:.12g}")
    if rule.words and isinstance(value, str | bool):
        return rule.words.get(str(value), True if rule.words is _YES and value else value)
    return value


def _bands(ranges: Any) -> list[tuple[float, float]] | None:
    """Centre and width at half maximum as edges; None unless every band says both."""
    found = []
    for band in ranges if isinstance(ranges, list) else ():
        centre, width = (band.get("Wavelength"), band.get("FWHMBandwidth")) if isinstance(band, dict) else (None, None)
        scale = _SCALES["nm"].get(str(band.get("WavelengthUnit") or "nm")) if isinstance(band, dict) else None
        if not centre or not width or scale is None:
            return None
        found.append(((centre - width / 2) * scale, (centre + width / 2) * scale))
    return found or None
