"""The parts of an instrument profile. Every key says its name in OME (in NBO, where OME has none) and its unit."""

from __future__ import annotations

import difflib
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Keys(BaseModel):
    """Refuses unknown keys and suggests the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    near = difflib.get_close_matches(str(key), list(cls.model_fields), 1, 0.5)
                    hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(cls.model_fields)}"
                    raise ValueError(f"unknown key {key!r}: {hint}")
        return data


class Live(Keys):
    """A value that is read from a device property."""

    prop: str
    device: str | None = None
    """Another device than the component's own."""
    scale: float = 1.0
    """Factor from the property's unit to the key's unit, for numbers."""


Text = str | Live | None
Number = float | Live | None
Flag = bool | None
Plain = bool | int | float | str


def _ome(name: str, unit: str | None = None) -> Any:
    return Field(default=None, json_schema_extra={"ome": name, "unit": unit})


class Part(Keys):
    """What every part has. `KIND` is its OME element name, or the name that the record uses."""

    KIND: ClassVar[str]

    manufacturer: Text = _ome("Manufacturer")
    model: Text = _ome("Model")
    catalogue_number: Text = _ome("CatalogNumber")
    serial_number: Text = _ome("SerialNumber")
    lot_number: Text = _ome("LotNumber")
    firmware: Text = _ome("FirmwareVersion")
    pid: Text = _ome("PersistentIdentifier")
    inventory_number: Text = _ome("InventoryNumber")
    also: dict[str, Plain] = Field(default_factory=dict)
    """More facts by the names that they have elsewhere (NBO's, where NBO asks for them); they go into annotations."""
    app: dict[str, Plain] = Field(default_factory=dict)
    """What the Micro-Meta App needs to draw this part; kept here, written nowhere."""

    @property
    def kind(self) -> str:
        """OME element name of this part."""
        return self.KIND


class Microscope(Part):
    """The stand, and what holds for the whole instrument."""

    KIND = "Microscope"

    name: Text = _ome("Name")
    type: Literal["Upright", "Inverted", "Dissection", "Electrophysiology", "Other"] | None = _ome("Type")
    stand: str | None = _ome("StandType")
    """NBO type of the stand: Compound, Light sheet, Custom made, ..."""
    description: str | None = _ome("Description")
    owner: str | None = _ome("Owner")
    owner_contact: str | None = _ome("OwnerContact")
    """An e-mail address."""
    owner_id: str | None = _ome("OwnerIdentifier")
    """ROR or another identifier of the owner."""
    landing_page: str | None = _ome("LandingPage")
    commissioned: str | None = _ome("Commissioned")
    """YYYY-MM-DD"""
    intermediate_magnification: Number = _ome("IntermediateMagnification")
    """Product of relay lenses and magnifier between objective and camera."""


class ObjectiveSettings(Keys):
    """How the objective was used."""

    medium: Literal["Air", "Oil", "Water", "Glycerol", "Other"] | None = _ome("Medium")
    refractive_index: Number = _ome("RefractiveIndex")
    correction_collar: Number = _ome("CorrectionCollar")


class Objective(Part):
    KIND = "Objective"

    magnification: Number = _ome("NominalMagnification")
    calibrated_magnification: Number = _ome("CalibratedMagnification")
    na: Number = _ome("LensNA")
    immersion: Literal["Oil", "Water", "WaterDipping", "Air", "Multi", "Glycerol", "Other"] | None = _ome("Immersion")
    correction: (
        Literal[
            "UV", "PlanApo", "PlanFluor", "SuperFluor", "VioletCorrected", "Achro", "Achromat", "Fluor", "Fl",
            "Fluar", "Neofluar", "Fluotar", "Apo", "PlanNeofluar", "Other",
        ]
        | None
    ) = _ome("Correction")  # fmt: skip
    working_distance_um: Number = _ome("WorkingDistance", "um")
    infinity_corrected: Flag = _ome("InfinityCorrected")
    contrast_modulation: str | None = _ome("ContrastModulation")
    dic: Flag = _ome("DIC")
    correction_collar: Flag = _ome("HasCorrectionCollar")
    view_field_mm: Number = _ome("ObjectiveViewField", "mm")
    image_distance_mm: Number = _ome("ImageDistance", "mm")
    settings: ObjectiveSettings = ObjectiveSettings()


class DetectorSettings(Keys):
    """Read when a channel's frames were taken; what is not given here is looked for by the adapter's own names."""

    binning: Text = _ome("Binning")
    gain: Number = _ome("Gain")
    amplification_gain: Number = _ome("AmplificationGain")
    offset: Number = _ome("Offset")
    readout_rate_mhz: Number = _ome("ReadOutRate", "MHz")
    bit_depth: Text = _ome("BitDepth")
    exposure_mode: Text = _ome("SensorExposureMode")
    readout_mode: Text = _ome("ReadoutMode")
    trigger_mode: Text = _ome("TriggerMode")
    temperature_c: Number = _ome("Temperature", "degC")
    integration: Number = _ome("Integration")
    frame_rate_hz: Number = _ome("FrameRate", "Hz")


class Detector(Part):
    KIND = "Detector"

    type: (
        Literal[
            "CCD", "IntensifiedCCD", "AnalogVideo", "PMT", "Photodiode", "Spectroscopy", "LifetimeImaging",
            "CorrelationSpectroscopy", "FTIR", "EMCCD", "APD", "CMOS", "EBCCD", "Other",
        ]
        | None
    ) = _ome("Type")  # fmt: skip
    pixel_width_um: Number = _ome("PixelWidth", "um")
    pixel_height_um: Number = _ome("PixelHeight", "um")
    max_bit_depth: Text = _ome("MaxBitDepth")
    quantum_efficiency: Number = _ome("QuantumEfficiency")
    conversion_factor_e_per_adu: Number = _ome("ElectronicConversionFactor", "e-/ADU")
    read_noise_e: Number = _ome("ReadOutNoise", "e-")
    noise_model: str | None = _ome("DetectorNoiseModel")
    dark_current_e_per_s: Number = _ome("DarkCurrentRate", "e-/s")
    illumination: str | None = _ome("Illumination")
    cut_on_nm: Number = _ome("CutOn", "nm")
    cut_off_nm: Number = _ome("CutOff", "nm")
    well_capacity_e: Number = _ome("PixelWellCapacity", "e-")
    max_frame_rate_hz: Number = _ome("MaximumFrameRate", "Hz")
    max_readout_rate_mhz: Number = _ome("MaximumReadoutRate", "MHz")
    sensor_width_px: Number = _ome("SensorWidth", "px")
    sensor_height_px: Number = _ome("SensorHeight", "px")
    settings: DetectorSettings = DetectorSettings()


class _Optical(Part):
    coating: Literal["HardCoated", "SoftCoated", "Other"] | None = _ome("CoatingMethod")
    location: str | None = _ome("LightPathLocation")
    attenuation: str | None = _ome("AttenuationMethod")
    bands_nm: list[tuple[float, float]] = Field(
        default=[], json_schema_extra={"ome": "TransmittanceBands", "unit": "nm"}
    )
    """Pairs of cut-in and cut-out at half maximum."""
    cut_on_nm: Number = _ome("CutIn", "nm")
    """Edge of a long-pass."""
    cut_off_nm: Number = _ome("CutOut", "nm")
    """Edge of a short-pass."""
    transmittance: Number = _ome("Transmittance")


class Filter(_Optical):
    KIND = "Filter"

    role: Literal["excitation", "emission", "neutral density", "other"] = Field(
        json_schema_extra={"ome": "Role", "unit": None}
    )
    type: Literal["LongPass", "ShortPass", "BandPass", "MultiPass", "NeutralDensity", "Tuneable", "Other"] | None = (
        _ome("Type")
    )
    optical_density: Number = _ome("OpticalDensity")
    density_type: str | None = _ome("NDType")


class Dichroic(_Optical):
    KIND = "Dichroic"

    type: Literal["LongPass", "ShortPass", "BandPass", "MultiPass", "Other"] | None = _ome("Type")
    mirror_type: str | None = _ome("MirrorType")


class LightSettings(Keys):
    """How bright the light was set."""

    power_percent: Number = _ome("IlluminationPowerSettings", "%")
    power_mw: Number = _ome("IlluminationPower", "mW")
    attenuation: Number = _ome("Attenuation")
    """Share of the light that is taken away, 0 to 1."""
    wavelength_nm: Number = _ome("Wavelength", "nm")


class Light(Part):
    """A lamp, laser line or diode; `type` is the arc's, laser's or filament's."""

    KIND = "GenericExcitationSource"

    source: Literal["Laser", "LightEmittingDiode", "Arc", "Filament", "GenericExcitationSource"] = Field(
        json_schema_extra={"ome": "Source", "unit": None}
    )
    type: str | None = _ome("Type")
    shutter: str | None = Field(default=None, json_schema_extra={"unit": None})
    """Shutter device of this light, when it is not the light's own device."""
    wavelength_nm: Number = _ome("Wavelength", "nm")
    bandwidth_nm: Number = _ome("Bandwidth", "nm")
    power_mw: Number = _ome("Power", "mW")
    laser_medium: (
        Literal[
            "Cu", "Ag", "ArFl", "ArCl", "KrFl", "KrCl", "XeFl", "XeCl", "XeBr", "N", "Ar", "Kr", "Xe", "HeNe",
            "HeCd", "CO", "CO2", "H2O", "HFl", "NdGlass", "NdYAG", "ErGlass", "ErYAG", "HoYLF", "HoYAG", "Ruby",
            "TiSapphire", "Alexandrite", "Rhodamine6G", "CoumarinC30", "GaAs", "GaAlAs", "EMinus", "Other",
        ]
        | None
    ) = _ome("LaserMedium")  # fmt: skip
    tuneable: Flag = _ome("Tuneable")
    pulsed: Flag = _ome("IsPulsed")
    modulation: str | None = _ome("ModulationMechanism")
    is_pump: Flag = _ome("IsPump")
    is_pumped: Flag = _ome("IsPumped")
    settings: LightSettings = LightSettings()

    @property
    def kind(self) -> str:
        return self.source

    @model_validator(mode="after")
    def _type_is_known(self) -> Light:
        known = _LIGHT_TYPES.get(self.source)
        if known and self.type is not None and self.type not in known:
            raise ValueError(f"type {self.type!r} is no {self.source} type: use one of {', '.join(known)}")
        return self


_LIGHT_TYPES = {
    "Arc": ("Hg", "Xe", "HgXe", "Other"),
    "Filament": ("Incandescent", "Halogen", "Other"),
    "Laser": (
        "Excimer", "Gas", "MetalVapor", "SolidState", "Dye", "Semiconductor", "FreeElectron", "Other",
    ),
}  # fmt: skip


class _Mover(Part):
    encoded: str | None = _ome("Encoded")
    motorized: Flag = _ome("Motorized")
    built_in: Flag = _ome("BuiltIn")
    axes: str | None = _ome("MovementAxes")
    z_repeatability_um: Number = _ome("ZRepeatability", "um")


class Stage(_Mover):
    """A stage that moves the sample in the plane."""

    KIND = "Stage"

    piezo: bool = Field(default=False, json_schema_extra={"ome": "Piezo", "unit": None})
    xy_repeatability_um: Number = _ome("XYRepeatability", "um")
    x_travel_mm: Number = _ome("XTravelRange", "mm")
    y_travel_mm: Number = _ome("YTravelRange", "mm")


class Focus(_Mover):
    KIND = "FocusDrive"


class Autofocus(Part):
    KIND = "FocusStabilizationDevice"

    mechanism: str | None = _ome("Mechanism")


class Environment(Part):
    """An incubator or chamber; the values are those of the sample's surroundings."""

    KIND = "EnvironmentalControlDevice"

    temperature_control: Flag = _ome("TemperatureControl")
    humidity_control: Flag = _ome("HumidityControl")
    co2_control: Flag = _ome("CO2Control")
    o2_control: Flag = _ome("O2Control")
    temperature_c: Number = _ome("Temperature", "degC")
    humidity_percent: Number = _ome("Humidity", "%")
    co2_percent: Number = _ome("CO2Percent", "%")


class Other(Part):
    """A part that no other table is for: a shutter, a mirror, a relay lens. It goes into the annotations."""

    KIND = "Other"

    what: str = Field(json_schema_extra={"unit": None})
    """What it is, such as Shutter."""

    @property
    def kind(self) -> str:
        return self.what

    @model_validator(mode="after")
    def _is_no_other(self) -> Other:
        table = _TABLES.get(self.what)
        if table:
            raise ValueError(f"{self.what} has a table of its own: use [{table}...]")
        return self


_TABLES = {
    "Microscope": "microscope", "Objective": "objective", "Detector": "detector", "Filter": "filter",
    "Dichroic": "dichroic", "Laser": "light", "LightEmittingDiode": "light", "Arc": "light", "Filament": "light",
    "GenericExcitationSource": "light", "Stage": "stage", "FocusDrive": "focus",
    "FocusStabilizationDevice": "autofocus", "EnvironmentalControlDevice": "environment",
}  # fmt: skip


class ChannelEntry(Keys):
    """What a channel preset means."""

    illumination: Literal["Transmitted", "Epifluorescence", "Oblique", "NonLinear", "Other"] | None = _ome(
        "IlluminationType"
    )
    contrast: (
        Literal[
            "Brightfield", "Phase", "DIC", "HoffmanModulation", "ObliqueIllumination", "PolarizedLight",
            "Darkfield", "Fluorescence", "Other",
        ]
        | None
    ) = _ome("ContrastMethod")  # fmt: skip
    mode: (
        Literal[
            "WideField", "LaserScanningConfocalMicroscopy", "SpinningDiskConfocal", "SlitScanConfocal",
            "MultiPhotonMicroscopy", "StructuredIllumination", "SingleMoleculeImaging",
            "TotalInternalReflection", "FluorescenceLifetime", "SpectralImaging",
            "SecondHarmonicGenerationImaging", "PALM", "STORM", "STED", "BrightField",
            "SweptFieldConfocal", "SPIM", "Other",
        ]
        | None
    ) = _ome("AcquisitionMode")  # fmt: skip
    fluor: str | None = _ome("Fluor")
    excitation_nm: Number = _ome("ExcitationWavelength", "nm")
    emission_nm: Number = _ome("EmissionWavelength", "nm")


class Software(Keys):
    """What the capture cannot know of the acquisition software."""

    name: str | None = None
    developer: str | None = None
    website: str | None = None
