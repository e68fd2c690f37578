"""Policy of calibration: which runs are one, how long a result holds, which values pass."""

from __future__ import annotations

from pydantic import Field

from agent.calibration.result import KINDS, Kind
from agent.contract.settings import Settings

_OPTICAL: tuple[Kind, ...] = ("psf", "field", "coregistration")
# NBO-Q v02-01, Sup. Table I: days between checks, (optical, intensity and mechanical). Tier 1 is recommended only.
_TIER_DAYS = {1: (91, 365), 2: (30, 91), 3: (1, 30)}
NBO = "NBO-Q v02-01, Sup. Table I, tier {tier}"


class CadenceSettings(Settings):
    """Days until a kind of calibration is due again; 0: as the tier says."""

    detector: int = Field(default=0, ge=0)
    """Gain, read noise and offset of the camera."""
    field: int = Field(default=0, ge=0)
    """Evenness of the illumination."""
    psf: int = Field(default=0, ge=0)
    """Resolution, from beads."""
    coregistration: int = Field(default=0, ge=0)
    """Shift between channels."""
    stage: int = Field(default=0, ge=0)
    """How well the stage returns and holds."""
    power: int = Field(default=0, ge=0)
    """Power of the illumination."""
    pixel_size: int = Field(default=0, ge=0)
    """Size of a pixel in the sample."""


class LimitSettings(Settings):
    """What a value must reach to pass; 0: no limit."""

    fwhm_ratio_xy: float = Field(default=1.5, ge=0)
    """At most: lateral FWHM of beads over theory (MetroloJ_QC; Faklaris et al. 2022)."""
    fwhm_ratio_z: float = Field(default=2.0, ge=0)
    """At most: axial FWHM of beads over theory (MetroloJ_QC; Faklaris et al. 2022 has 1.5)."""
    uniformity_percent: float = Field(default=50, ge=0)
    """At least: dimmest over brightest part of the field (MetroloJ_QC; Faklaris et al. 2022)."""
    centring_accuracy_percent: float = Field(default=50, ge=0)
    """At least: how central the brightest part is (MetroloJ_QC)."""
    coregistration_ratio: float = Field(default=1.0, ge=0)
    """At most: distance between channels over the resolution (MetroloJ_QC)."""
    stabilisation_threshold_um: float = Field(default=0.2, gt=0)
    """The stage counts as settled when every further step is below this (MetroloJ_QC)."""
    read_noise_rms_electrons: float = Field(default=0, ge=0)
    """At most, in electrons."""
    hot_pixels_ppm: float = Field(default=0, ge=0)
    """At most, in parts per million."""
    linearity_error_percent: float = Field(default=0, ge=0)
    """At most: largest departure of the camera from a straight line."""
    repeatability_micron: float = Field(default=0, ge=0)
    """At most: spread of the stage when it returns to a position."""
    drift_velocity_micron_per_minute: float = Field(default=0, ge=0)
    """At most: drift of a stage that holds its position."""
    short_term_power_stability_percent: float = Field(default=0, ge=0)
    """At least: STAB over 5 minutes (ISO 21073:2019)."""
    long_term_power_stability_percent: float = Field(default=0, ge=0)
    """At least: STAB over 2 hours (ISO 21073:2019)."""
    power_linearity_coefficient_of_determination: float = Field(default=0, ge=0, le=1)
    """At least: R2 of power over set point."""


class CalibrationSettings(Settings):
    """The facility's policy of quality control."""

    automatic: bool = True
    """Analyse runs that are marked as calibration as soon as they are whole."""
    tier: int = Field(default=1, ge=1, le=3)
    """Which table of NBO-Q says how often: 1 methods, 2 advanced quantification, 3 development."""
    require: tuple[Kind, ...] = ()
    """Kinds that must be there: one that was never measured is overdue."""
    folders: tuple[str, ...] = ("calibration", "qc")
    """A file below a folder of such a name, in a folder named for its kind (qc/psf/...), is a calibration."""
    names: tuple[str, ...] = ("qc_{kind}", "qc-{kind}", "cal_{kind}", "cal-{kind}")
    """A run whose name starts so is a calibration; {kind} stands for each kind."""
    mark: str = "calibration"
    """Key in the metadata of a sequence, or in the session, that names the kind."""
    max_gib: float = Field(default=4, gt=0)
    """A dataset of more is left to be analysed by hand, so that the microscope's memory stays free."""
    days: CadenceSettings = CadenceSettings()
    """How long each kind holds."""
    limits: LimitSettings = LimitSettings()
    """What must be reached."""

    def days_of(self, kind: Kind) -> tuple[int, str]:
        """(days until it is due again, where that comes from)."""
        own: int = getattr(self.days, kind.replace("-", "_"))
        if own:
            return own, "facility policy"
        optical, other = _TIER_DAYS[self.tier]
        return (optical if kind in _OPTICAL else other), NBO.format(tier=self.tier)

    def kind_named(self, text: str) -> Kind | None:
        """The kind that `text` names, in any spelling: `psf`, `Pixel size`, `pixel_size`; `beads` is a PSF."""
        said = text.strip().lower().replace("_", "-").replace(" ", "-")
        said = {"beads": "psf", "flat-field": "field", "flatfield": "field", "camera": "detector"}.get(said, said)
        return next((kind for kind in KINDS if kind == said), None)
