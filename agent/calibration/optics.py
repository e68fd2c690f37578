"""Resolution that theory expects, by modality. Formulas as in MetroloJ_QC; wavelengths and sizes in micrometres."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from agent.errors import Rejected

Modality = Literal["widefield", "confocal", "spinning-disk", "multiphoton"]
SOURCE = "theory: MetroloJ_QC formulas"


@dataclass(frozen=True, slots=True)
class Optics:
    """What the resolution depends on; `refractive_index` is that of the immersion."""

    na: float
    refractive_index: float = 1.0
    emission_um: float | None = None
    excitation_um: float | None = None
    modality: Modality = "widefield"

    def __post_init__(self) -> None:
        if not 0 < self.na < self.refractive_index:
            raise Rejected(f"NA {self.na:g} is impossible in a medium of index {self.refractive_index:g}: check both")

    def fwhm_um(self) -> tuple[float, float]:
        """(lateral, axial) FWHM of a point, micrometres. Rejected when the wavelength it needs is unknown."""
        n, na = self.refractive_index, self.na
        depth = n - math.sqrt(n * n - na * na)
        match self.modality:
            case "widefield":
                em = self._need(self.emission_um, "emission")
                return 0.51 * em / na, 1.77 * n * em / na**2
            case "confocal":
                ex = self._need(self.excitation_um, "excitation")
                return 0.51 * ex / na, 0.88 * ex / depth
            case "spinning-disk":
                em = self._need(self.emission_um, "emission")
                return 0.51 * em / na, em / depth
            case "multiphoton":
                ex = self._need(self.excitation_um, "excitation")
                lateral = 0.377 * ex / na if na <= 0.7 else 0.383 * ex / na**0.91
                return lateral, 0.626 * ex / depth

    def nyquist_um(self) -> tuple[float, float]:
        """(lateral, axial) largest sampling step that loses nothing, micrometres."""
        n = self.refractive_index
        axial = 1 - math.cos(math.asin(self.na / n))
        if self.modality in ("widefield", "spinning-disk"):
            em = self._need(self.emission_um, "emission")
            return em / (4 * self.na), em / (2 * n * axial)
        ex = self._need(self.excitation_um, "excitation")
        return ex / (8 * self.na), ex / (4 * n * axial)

    def _need(self, wavelength_um: float | None, which: str) -> float:
        if not wavelength_um:
            raise Rejected(f"theory for {self.modality} needs the {which} wavelength: give it in nm")
        return wavelength_um


def reference_distance_um(dx: float, dy: float, dz: float, lateral: float, axial: float) -> float:
    """Radius of the resolution ellipsoid in the direction of a shift, micrometres (MetroloJ_QC, co-registration)."""
    distance = math.sqrt(dx * dx + dy * dy + dz * dz)
    if distance == 0:
        return lateral
    scaled = math.sqrt((dx * dx + dy * dy) / lateral**2 + dz * dz / axial**2)
    return distance / scaled
