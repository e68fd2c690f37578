"""scope-agent calibrate: analyse the images of a calibration, by hand or guided, and record the result"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agent.cli.app import ConfigOption, JsonOption, app, config_path
from agent.errors import Misconfigured

if TYPE_CHECKING:
    from agent.calibration import CalibrationSettings, Entry, Kind
    from agent.calibration.run import Given, Outcome

_NEEDS = {
    "detector": ("camera",),
    "field": ("objective",),
    "psf": ("objective",),
    "coregistration": ("objective",),
    "pixel-size": ("objective", "camera"),
}
Modality = Literal["widefield", "confocal", "spinning-disk", "multiphoton"]
Which = Literal["detector", "field", "psf", "coregistration", "stage", "power", "pixel-size"]


def _option(text: str) -> Any:
    return typer.Option(help=text)


@dataclass(frozen=True, slots=True)
class _About:
    """What the result holds for, as the command line says it."""

    objective: str | None
    camera: str | None
    channels: tuple[str, ...]
    mode: dict[str, str]
    by: str | None


@app.command()
def calibrate(
    context: typer.Context,
    kind: Which,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Images; for a detector DARK FLAT...; a power log.")
    ] = None,
    as_json: JsonOption = False,
    record: Annotated[bool, _option("Keep the result in the registry of the config's instrument.")] = False,
    config: ConfigOption = None,
    figure: Annotated[Path | None, _option("Draw the result into this file (png, svg, pdf).")] = None,
    objective: Annotated[str | None, _option("The objective that was used.")] = None,
    camera: Annotated[str | None, _option("The camera that was used.")] = None,
    channel: Annotated[list[str] | None, _option("Name of each channel, in order; default: as the file says.")] = None,
    mode: Annotated[list[str] | None, _option("Setting of the camera that the result holds for: Gain=1.")] = None,
    by: Annotated[str | None, _option("Who measured.")] = None,
    pixel_size: Annotated[float | None, _option("Size of a pixel in um.")] = None,
    z_step: Annotated[float | None, _option("Distance of the planes in um.")] = None,
    na: Annotated[float | None, _option("Numerical aperture.")] = None,
    index: Annotated[float | None, _option("Refractive index of the immersion.")] = None,
    emission: Annotated[float | None, _option("Emission wavelength in nm.")] = None,
    excitation: Annotated[float | None, _option("Excitation wavelength in nm.")] = None,
    modality: Annotated[Modality | None, _option("How the images are formed.")] = None,
    bead: Annotated[float | None, _option("Diameter of the beads in um, to be taken out of their size.")] = None,
    offset: Annotated[float | None, _option("What the camera says without light, in ADU.")] = None,
    full_scale: Annotated[float | None, _option("Largest value of the camera in ADU.")] = None,
    exposure: Annotated[list[float] | None, _option("Exposure of each flat level in ms.")] = None,
    interval: Annotated[float | None, _option("Seconds between frames.")] = None,
    series: Annotated[str | None, _option("Stage: hold or return.")] = None,
    spacing: Annotated[float | None, _option("Spacing of a micrometer's lines in um.")] = None,
    move: Annotated[list[str] | None, _option("Stage position of each frame in um: X,Y.")] = None,
    area: Annotated[float | None, _option("Lit area in mm2, for the irradiance.")] = None,
    acquire: Annotated[bool, _option("Take the images first, with pymmcore-plus (detector, power).")] = False,
    mm_config: Annotated[Path | None, _option("Micro-Manager configuration; default: the demo microscope.")] = None,
    dark: Annotated[list[str] | None, _option("Makes it dark: DEVICE.PROPERTY=VALUE; default: shutter closed.")] = None,
    flat: Annotated[list[str] | None, _option("Makes the flat light: DEVICE.PROPERTY=VALUE.")] = None,
    setting: Annotated[list[str] | None, _option("For the whole run: DEVICE.PROPERTY=VALUE.")] = None,
    dark_exposure: Annotated[float | None, _option("Exposure of the dark frames in ms; default: the shortest.")] = None,
    frames: Annotated[int, _option("Frames of each series.")] = 20,
    meter: Annotated[str | None, _option("Power meter: DEVICE.PROPERTY.")] = None,
    seconds: Annotated[float, _option("How long the power is read.")] = 300,
    step: Annotated[float, _option("Seconds between readings of the power; above 5 it is the long series.")] = 1,
    milliwatts: Annotated[float, _option("What one unit of the meter is in mW; default: it tells watts.")] = 1000,
    set_point: Annotated[
        list[str] | None, _option("For the linearity of the power: FRACTION:DEVICE.PROPERTY=VALUE, one a level.")
    ] = None,
    out: Annotated[Path | None, _option("Where acquired images go; default: calibration-KIND-TIME here.")] = None,
) -> None:
    """Analyse the images of a calibration; with --record keep the result. Exit 65 when they cannot be one."""
    from agent.calibration.installed import check_installed

    check_installed()
    from agent.calibration.run import analyse_files

    about = _About(objective, camera, tuple(channel or ()), dict(_equals(text) for text in mode or ()), by)
    given = _given(context.params)
    if record:
        _check(kind, about, config)
    paths = [_acquire(kind, given, context.params)] if acquire else list(files or ())
    for path in paths:
        if not path.exists():
            raise Misconfigured(f"{path} does not exist: name the images of the calibration")
    outcomes = analyse_files(kind, paths, given)
    policy = _policy(config)
    entries = _record(kind, outcomes, paths, about, config_path(config)) if record else []
    if figure is not None:
        _draw(outcomes, figure)
    _print(outcomes, entries, policy, as_json)


def _given(said: dict[str, Any]) -> Given:
    """What the options tell of the images."""
    from agent.calibration.run import Given

    return Given(
        pixel_um=said["pixel_size"],
        z_step_um=said["z_step"],
        na=said["na"],
        refractive_index=said["index"],
        emission_nm=said["emission"],
        excitation_nm=said["excitation"],
        modality=said["modality"],
        bead_um=said["bead"],
        offset_adu=said["offset"],
        full_scale=said["full_scale"],
        exposures_ms=tuple(said["exposure"] or ()),
        interval_s=said["interval"],
        series=said["series"],
        spacing_um=said["spacing"],
        stage_um=tuple(_pair(text) for text in said["move"] or ()),
        area_mm2=said["area"],
    )


# Input


def _pair(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise Misconfigured(f"{text!r} is no stage position: write X,Y in um") from None
    return x, y


def _equals(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise Misconfigured(f"{text!r} says no value: write NAME=VALUE")
    return name, value


def _settings(texts: list[str] | None) -> tuple[tuple[str, str, str], ...]:
    found = []
    for text in texts or ():
        name, value = _equals(text)
        device, dot, prop = name.partition(".")
        if not dot:
            raise Misconfigured(f"{text!r} names no property: write DEVICE.PROPERTY=VALUE")
        found.append((device, prop, value))
    return tuple(found)


def _set_points(texts: list[str] | None) -> list[tuple[float, tuple[str, str, str]]]:
    found = []
    for text in texts or ():
        fraction, _, setting = text.partition(":")
        try:
            found.append((float(fraction), _settings([setting])[0]))
        except ValueError:
            raise Misconfigured(f"{text!r} is no set point: write FRACTION:DEVICE.PROPERTY=VALUE") from None
    return found


def _policy(config: Path | None) -> CalibrationSettings:
    from agent.calibration import CalibrationSettings

    if config is None:
        return CalibrationSettings()
    from agent.config import load

    return load(config).calibration


# Guided


def _acquire(kind: str, given: Given, said: dict[str, Any]) -> Path:
    """Take the images, or read the power meter; the file that they are in."""
    from agent.calibration import guided

    if kind not in ("detector", "power"):
        raise Misconfigured(f"--acquire takes detector and power; take the images of {kind} and name them")
    stamp = time.strftime("%Y%m%d-%H%M%S")
    ending = "ome.tiff" if kind == "detector" else "csv"
    out = Path(said["out"] or f"calibration-{kind}-{stamp}.{ending}").absolute()
    device, dot, prop = (said["meter"] or "").partition(".")
    if kind == "power" and not dot:
        raise Misconfigured("which power meter? Name it with --meter DEVICE.PROPERTY")
    core = guided.load_core(said["mm_config"])
    typer.echo(f"acquiring into {out}", err=True)
    if kind == "power":
        points = _set_points(said["set_point"])
        return guided.acquire_power(
            core,
            (device, prop),
            out,
            seconds=said["seconds"],
            step_s=said["step"],
            set_points=points,
            to_mw=said["milliwatts"],
        )
    demo = said["mm_config"] is None and not (said["dark"] or said["flat"] or said["setting"])
    run = guided.DetectorRun(
        given.exposures_ms or (1, 2, 5, 10, 20, 50, 100),
        frames=said["frames"],
        dark_frames=said["frames"],
        dark_exposure_ms=said["dark_exposure"] or (guided.DEMO_DARK_MS if demo else None),
        dark=guided.DEMO_DARK if demo else _settings(said["dark"]),
        flat=guided.DEMO_LIGHT if demo else _settings(said["flat"]),
    )
    return guided.acquire_detector(core, run, out, guided.DEMO_NOISE if demo else _settings(said["setting"]))


# Output


def _check(kind: str, about: _About, config: Path | None) -> None:
    """A result that names no objective or camera would count for all of them."""
    config_path(config)
    for name in _NEEDS.get(kind, ()):
        if getattr(about, name) is None:
            raise Misconfigured(f"--record needs --{name}: a {kind} result holds for one {name} only")


def _record(kind: Kind, outcomes: list[Outcome], paths: list[Path], about: _About, config: Path) -> list[Entry]:
    import getpass

    from agent import __version__
    from agent.calibration import Holds, Registry, entry_of
    from agent.calibration.entry import input_of
    from agent.calibration.holding import relevant
    from agent.config import load

    settings = load(config)
    inputs = tuple(input_of(file) for path in paths for file in _files(path))
    taken = max(path.stat().st_mtime_ns for path in paths)
    entries = []
    for outcome in outcomes:
        channels = about.channels if len(outcomes) == 1 and about.channels else outcome.channels
        held = Holds(objective=about.objective, camera=about.camera, mode=about.mode, channels=channels)
        entries.append(
            entry_of(
                outcome.analysis,
                settings.calibration,
                instrument=settings.instrument,
                by=about.by or getpass.getuser(),
                software=f"scope-agent {__version__}",
                holds_for=relevant(kind, held),
                measured_ns=taken,
                now_ns=time.time_ns(),
                inputs=inputs,
            )
        )
    return Registry.open(settings.state).add_all(entries)


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())


def _draw(outcomes: list[Outcome], figure: Path) -> None:
    from agent.calibration.figures import draw

    for number, outcome in enumerate(outcomes):
        many = f"-{number + 1}" if len(outcomes) > 1 else ""
        draw(outcome.analysis, figure.with_stem(figure.stem + many), " to ".join(outcome.channels))


def _print(
    outcomes: list[Outcome],
    entries: list[Entry],
    policy: CalibrationSettings,
    as_json: bool,
) -> None:
    from agent.calibration.entry import judged

    said = []
    for number, outcome in enumerate(outcomes):
        analysis = outcome.analysis
        metrics = {name: judged(name, found, policy) for name, found in analysis.metrics.items()}
        said.append(
            analysis.model_dump(mode="json")
            | {"channels": list(outcome.channels), "recorded": entries[number].id if entries else None}
            | {"metrics": {name: found.model_dump(mode="json", exclude_none=True) for name, found in metrics.items()}}
        )
    if as_json:
        typer.echo(json.dumps(said))
        return
    for one in said:
        typer.echo(f"{one['kind']} {' to '.join(one['channels'])}: quality {one['quality']}")
        for reason in one["reasons"]:
            typer.echo(f"  note: {reason}")
        for name, found in one["metrics"].items():
            typer.echo(f"  {line_of(name, found)}")
        if one["recorded"]:
            typer.echo(f"  recorded as {one['recorded']}")


def line_of(name: str, found: dict[str, Any]) -> str:
    """A metric in one line: name, value, unit, interval, limit and status."""
    interval = f"  [{found['low']:.6g}, {found['high']:.6g}]" if "low" in found else ""
    limit = found.get("limit")
    verdict = f"  {found['status']} ({limit['sense']} {limit['value']:g}, {limit['source']})" if limit else ""
    return f"{name:48} {found['value']:12.6g} {found.get('unit') or '':8}{interval}{verdict}"
