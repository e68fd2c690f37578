"""The snapshot: a frozen value with everything that the documents are written from."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.contract.record import CalibrationState, Captured, Channel, Component, Counts, PropertyChange, Session


@dataclass(frozen=True, slots=True)
class Planes:
    """The planes of one image, one entry a plane in every column; NaN where a value is not known."""

    the_z: array[int]
    the_c: array[int]
    the_t: array[int]
    delta_s: array[float]
    """Seconds since the start of the run."""
    exposure_s: array[float]
    x_um: array[float]
    y_um: array[float]
    z_um: array[float]
    position_unit: str = "µm"
    """Unit of the positions; the default of OME is the `reference frame` of nobody knows what."""
    state: array[int] = field(default_factory=lambda: array("q"))
    """Index into the snapshot's plane states, -1 where the plane's devices were as its channel says. Empty: all so."""

    def __len__(self) -> int:
        return len(self.the_z)

    @classmethod
    def none(cls) -> Planes:
        """No planes."""
        z, c, t = (array("q") for _ in range(3))
        delta, exposure, x, y, height = (array("d") for _ in range(5))
        return cls(z, c, t, delta, exposure, x, y, height)

    def rows(self, chosen: Sequence[int]) -> Planes:
        """Only these rows."""

        def ints(column: array[int]) -> array[int]:
            return array("q", [column[row] for row in chosen])

        def floats(column: array[float]) -> array[float]:
            return array("d", [column[row] for row in chosen])

        return Planes(
            ints(self.the_z),
            ints(self.the_c),
            ints(self.the_t),
            floats(self.delta_s),
            floats(self.exposure_s),
            floats(self.x_um),
            floats(self.y_um),
            floats(self.z_um),
            self.position_unit,
            ints(self.state) if self.state else array("q"),
        )


@dataclass(frozen=True, slots=True)
class Block:
    """Where planes lie: an OME TiffData element. `file` is a dataset-relative name, None inside this file."""

    file: str | None
    uuid: str | None
    ifd: int | None = None
    first_z: int | None = None
    first_c: int | None = None
    first_t: int | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class StageLabel:
    name: str
    x_um: float | None = None
    y_um: float | None = None
    z_um: float | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """One OME Image: a stage position of a run, or a series of a file."""

    name: str
    size: tuple[int, int, int, int, int]
    """X, Y, Z, C, T"""
    pixel_type: str
    samples: int = 1
    """Samples of a pixel of one channel: 3 for RGB; SizeC counts them."""
    order: str = "XYZCT"
    significant_bits: int | None = None
    z_step_um: float | None = None
    t_step_s: float | None = None
    stage: StageLabel | None = None
    channels: tuple[int, ...] = ()
    """Indexes into the snapshot's channels, one for each index on the C axis that is known."""
    objective: str | None = None
    """Component id."""
    planes: Planes = field(default_factory=Planes.none)
    blocks: tuple[Block, ...] = ()
    keeps_planes: bool = False
    """The skeleton holds this image's planes itself, for they carry more than the columns can."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the instrument was, each value with its source and time; unknown stays unknown."""

    started_at: str
    microscope: dict[str, Captured]
    components: tuple[Component, ...]
    in_use: tuple[str, ...]
    objective_settings: dict[str, Captured]
    channels: tuple[Channel, ...]
    images: tuple[Image, ...]
    actual: Counts
    pixel_size: dict[str, Captured]
    environment: dict[str, Captured]
    session: Session
    software: dict[str, str]
    developer: dict[str, str]
    """Name, developer and website of the acquisition software, from the profile."""
    property_changes: tuple[PropertyChange, ...]
    device_state: dict[str, Any]
    """Every device property as it was read, JSON-able."""
    conflicts: tuple[str, ...]
    """Sources that contradict each other, one line each; both values are kept."""
    notes: tuple[str, ...]
    not_carried_over: dict[str, Any]
    skeleton: bytes | None
    """The OME-XML of the files without its planes and TIFF addresses; None when the files say nothing."""
    plan: dict[str, Any]
    """The planned sequence as JSON; empty when unknown."""
    calibration: CalibrationState = field(default_factory=CalibrationState)
    """Quality control that holds for its optics and camera; no `metrics` means that there is none."""
    acquired_at: str | None = None
    """When the images were taken: the start of the run, or the date in the file; None when nobody says."""
    plane_states: tuple[dict[str, str], ...] = ()
    """Device properties, `device.property`, that were other than the channel says when some planes were taken."""
    texts: dict[str, bytes] = field(default_factory=dict)
    """Small files of the dataset that may be delivered with our part in them, by dataset-relative name."""
