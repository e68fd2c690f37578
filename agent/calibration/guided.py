"""Guided run: takes the dark and flat series of a detector calibration, or reads a power meter, with pymmcore-plus.

Needs a microscope that nobody else uses; every property that is changed is set back at the end.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.calibration.result import SHORT_STEP_S
from agent.errors import Misconfigured, Rejected

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus

GROUP = "scope-agent calibration"
Setting = tuple[str, str, str]
"""(device, property, value)"""


@dataclass(frozen=True, slots=True)
class DetectorRun:
    """What to take. Empty `dark` and `flat`: the shutter is closed and opened."""

    exposures_ms: tuple[float, ...]
    frames: int = 4
    """Of each flat level; an even number, as frames are compared in pairs."""
    dark_frames: int = 30
    dark_exposure_ms: float | None = None
    """Default: the shortest of the flat levels."""
    dark: tuple[Setting, ...] = ()
    flat: tuple[Setting, ...] = ()


DEMO_NOISE = (
    ("Camera", "Mode", "Noise"),
    ("Camera", "PixelType", "16bit"),
    ("Camera", "BitDepth", "16"),
    ("Camera", "Offset", "100"),
)
"""Makes Micro-Manager's demo camera one with photons and read noise; its shutter darkens nothing."""
DEMO_DARK, DEMO_LIGHT = (("Camera", "Photon Flux", "2"),), (("Camera", "Photon Flux", "500"),)
DEMO_DARK_MS = 0.001


def load_core(config: Path | None) -> CMMCorePlus:
    """A core with a Micro-Manager configuration; without one DemoCamera's. Misconfigured when it does not load."""
    from pymmcore_plus import CMMCorePlus

    core = CMMCorePlus()
    try:
        import mm_test_adapters

        if config is None:
            folder = Path(mm_test_adapters.device_adapter_path())
            core.setDeviceAdapterSearchPaths([str(folder)])
            config = folder / "MMConfig_demo.cfg"
    except ImportError:
        pass
    if config is None:
        raise Misconfigured("which microscope? Name a Micro-Manager configuration with --mm-config")
    try:
        core.loadSystemConfiguration(str(config))
    except (RuntimeError, OSError) as error:
        raise Misconfigured(f"{config} does not load: {error}") from error
    return core


def acquire_detector(core: CMMCorePlus, run: DetectorRun, output: Path, apply: Sequence[Setting] = ()) -> Path:
    """Take dark and flat frames into one OME-TIFF, channel `dark` first and then one channel a level.

    `apply`: settings for the whole run, such as the camera's gain. The run is marked as calibration, so that a
    hook in this process tells the agent of it. Misconfigured when a property cannot be set.
    """
    import useq

    if run.frames < 2 or run.dark_frames < 2 or len(run.exposures_ms) < 1:
        raise Misconfigured("at least two frames a level, two dark frames and one exposure are needed")
    names = ["dark", *(f"flat {number + 1}" for number in range(len(run.exposures_ms)))]
    exposures = [run.dark_exposure_ms or min(run.exposures_ms), *run.exposures_ms]
    with _restored(core, [*apply, *_dark(core, run), *_flat(core, run)]):
        _set(core, apply)
        _presets(core, names, _dark(core, run), _flat(core, run))
        # One count for all: a rectangular data set is what every format can hold.
        frames = max(run.frames, run.dark_frames)
        sequence = useq.MDASequence(
            axis_order=("c", "t"),
            channels=tuple(
                useq.Channel(group=GROUP, config=name, exposure=exposure)
                for name, exposure in zip(names, exposures, strict=True)
            ),
            time_plan=useq.TIntervalLoops(interval=0, loops=frames),  # type: ignore[arg-type]
            metadata={"calibration": "detector", "name": output.name.partition(".")[0]},
        )
        core.mda.run(sequence, output=str(output))
    return output


def _dark(core: CMMCorePlus, run: DetectorRun) -> list[Setting]:
    return list(run.dark) or [(_shutter(core), "State", "0")]


def _flat(core: CMMCorePlus, run: DetectorRun) -> list[Setting]:
    return list(run.flat) or [(_shutter(core), "State", "1")]


def _shutter(core: CMMCorePlus) -> str:
    label = core.getShutterDevice()
    if not label or not core.hasProperty(label, "State"):
        raise Misconfigured("no shutter makes it dark: say how with --dark DEVICE.PROPERTY=VALUE and --flat ...")
    return label


def _presets(core: CMMCorePlus, names: list[str], dark: list[Setting], flat: list[Setting]) -> None:
    if GROUP in core.getAvailableConfigGroups():
        core.deleteConfigGroup(GROUP)
    core.defineConfigGroup(GROUP)
    for name in names:
        for device, prop, value in dark if name == "dark" else flat:
            core.defineConfig(GROUP, name, device, prop, value)
    # The acquisition engine goes on after a preset that fails: a dark frame with light would look like a good one.
    _set(core, [*flat, *dark])


def _set(core: CMMCorePlus, settings: Sequence[Setting]) -> None:
    for device, prop, value in settings:
        try:
            core.setProperty(device, prop, value)
        except RuntimeError as error:
            raise Misconfigured(f"{device}.{prop} cannot be set to {value!r}: {error}") from error


@contextmanager
def _restored(core: CMMCorePlus, settings: Sequence[Setting]) -> Iterator[None]:
    """Everything as it was, also when the run fails; the automatic shutter stays out of it meanwhile."""
    try:
        before = [(device, prop, core.getProperty(device, prop)) for device, prop, _ in settings]
    except RuntimeError as error:
        raise Misconfigured(f"the microscope has no such property: {error}") from error
    automatic = core.getAutoShutter()
    try:
        core.setAutoShutter(False)
        yield
    finally:
        _set(core, before)
        core.setAutoShutter(automatic)
        if GROUP in core.getAvailableConfigGroups():
            core.deleteConfigGroup(GROUP)


def acquire_power(
    core: CMMCorePlus,
    meter: tuple[str, str],
    output: Path,
    *,
    seconds: float = 300,
    step_s: float = 1.0,
    set_points: Sequence[tuple[float, Setting]] = (),
    to_mw: float = 1000.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Read a power meter's property into a CSV log: steady light for `seconds`, then each set point once.

    Readings more than five seconds apart are of the long series. `to_mw`: factor from the meter's unit to mW (watts:
    1000). Rejected when the meter tells no number, Misconfigured when there is no such property.
    """
    rows: list[tuple[str, float, float, float]] = []
    began = time.monotonic()

    def read(series: str, point: float) -> None:
        try:
            said = core.getProperty(*meter)
        except RuntimeError as error:
            raise Misconfigured(f"the microscope has no power meter {meter[0]}.{meter[1]}: {error}") from error
        try:
            rows.append((series, time.monotonic() - began, point, float(said) * to_mw))
        except ValueError:
            raise Rejected(f"{meter[0]}.{meter[1]} is {said!r}, no power") from None

    for _ in range(max(1, round(seconds / step_s))):
        read("short" if step_s <= SHORT_STEP_S else "long", 1.0)
        sleep(step_s)
    with _restored(core, [setting for _, setting in set_points]):
        for point, setting in set_points:
            _set(core, [setting])
            sleep(step_s)
            read("linearity", point)
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["series", "seconds", "set_point_fraction", "power_mw"])
        writer.writerows(rows)
    return output
