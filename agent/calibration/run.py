"""From files to analyses: which images are the dark ones, which channels make a pair, which optics are theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import cast

import numpy as np

from agent.calibration.coregistration import coregistration
from agent.calibration.depth import depth
from agent.calibration.detector import detector
from agent.calibration.field import field
from agent.calibration.frames import Image
from agent.calibration.images import ChannelFacts, Picture, load
from agent.calibration.optics import Modality, Optics
from agent.calibration.pixel_size import from_micrometer, from_moves
from agent.calibration.power import power
from agent.calibration.power_log import read_log
from agent.calibration.psf import psf
from agent.calibration.result import Analysis, Kind
from agent.calibration.stage import hold, returns
from agent.errors import Rejected

_MODALITIES: dict[str, Modality] = {
    "laserscanningconfocalmicroscopy": "confocal",
    "spinningdiskconfocal": "spinning-disk",
    "multiphotonmicroscopy": "multiphoton",
}


@dataclass(frozen=True, slots=True)
class Given:
    """What a person or the policy says beside the files; stronger than what the files say. None: not said."""

    pixel_um: float | None = None
    z_step_um: float | None = None
    na: float | None = None
    refractive_index: float | None = None
    emission_nm: float | None = None
    excitation_nm: float | None = None
    modality: Modality | None = None
    bead_um: float | None = None
    offset_adu: float | None = None
    full_scale: float | None = None
    exposures_ms: tuple[float, ...] = ()
    interval_s: float | None = None
    series: str | None = None
    """`hold`, `return`; `lines` or `moves`."""
    spacing_um: float | None = None
    stage_um: tuple[tuple[float, float], ...] = ()
    area_mm2: float | None = None
    settled_below_um: float = 0.2


@dataclass(frozen=True, slots=True)
class Outcome:
    """An analysis and the channels that it is of."""

    analysis: Analysis
    channels: tuple[str, ...] = ()


def analyse_files(kind: Kind, files: Sequence[Path], given: Given | None = None) -> list[Outcome]:
    """Analyse the files of a kind. Rejected in one line when they cannot be what the kind needs."""
    if not files:
        raise Rejected(f"{kind}: no file was named")
    given = given or Given()
    if kind == "power":
        return [Outcome(power(read_log(files[0]), given.area_mm2))]
    return analyse(kind, [picture for path in files for picture in load(path)], given)


def analyse(kind: Kind, pictures: Sequence[Picture], given: Given) -> list[Outcome]:
    """Analyse images that are in memory; one outcome a channel or pair of channels."""
    match kind:
        case "detector":
            return [Outcome(_detector(pictures, given))]
        case "field":
            return [
                Outcome(field(picture.pixels[:, c].max(axis=1), given.offset_adu, given.full_scale), (facts.name,))
                for picture in pictures
                for c, facts in enumerate(picture.channels)
            ]
        case "psf":
            return [_psf(picture, c, given) for picture in pictures for c in range(len(picture.channels))]
        case "coregistration":
            return _pairs(pictures, given)
        case "stage":
            return [Outcome(_stage(pictures, given))]
        case "pixel-size":
            return [Outcome(_pixel_size(pictures, given))]
        case "power":
            raise Rejected("power is measured with a meter, not with images: name its CSV log")


# Detector


def _detector(pictures: Sequence[Picture], given: Given) -> Analysis:
    """Dark first, then flats: by channel name in one file, by file otherwise."""
    first = pictures[0]
    dark_channels = [c for c, facts in enumerate(first.channels) if "dark" in facts.name.lower()]
    if len(dark_channels) == 1 and len(first.channels) > 1:
        rest = [c for c in range(len(first.channels)) if c != dark_channels[0]]
        flats = [first.pixels[:, c, 0] for c in rest]
        known = [first.channels[c].exposure_ms for c in rest]
        exposures = [value for value in known if value is not None]
        dark = first.pixels[:, dark_channels[0], 0]
    elif len(pictures) > 1:
        dark, exposures = _frames(first), []
        series = [_frames(picture) for picture in pictures[1:]]
        flats = [pair for frames in series for pair in _in_pairs(frames)] if len(series) == 1 else series
    else:
        raise Rejected("detector: name the dark series and then the flat series, or call the dark channel 'dark'")
    known_all = exposures if len(exposures) == len(flats) else None
    return detector(dark, flats, given.exposures_ms or known_all, given.full_scale)


def _frames(picture: Picture) -> Image:
    """Every frame of a file, whatever its axis is called."""
    pixels = picture.pixels
    return pixels.reshape(-1, *pixels.shape[3:])


def _in_pairs(frames: Image) -> list[Image]:
    if len(frames) % 2:
        raise Rejected(f"the flat series has {len(frames)} frames: two of each level are needed, level after level")
    return [frames[i : i + 2] for i in range(0, len(frames), 2)]


# Beads


def _volume(picture: Picture, channel: int) -> Image:
    """(Z, Y, X) of a channel; in a bare stack of one axis that axis is depth."""
    pixels = picture.pixels[:, channel]
    if pixels.shape[1] == 1 and pixels.shape[0] > 1 and not picture.times_s:
        return pixels[:, 0]
    if pixels.shape[0] > 1:
        raise Rejected(f"{picture.path.name}: {pixels.shape[0]} time points; give one stack of beads")
    return cast("Image", pixels[0]) if pixels.shape[1] > 1 else cast("Image", pixels[0, 0])


def _optics(picture: Picture, facts: ChannelFacts, given: Given) -> Optics | None:
    """None where NA or the wavelength is not known: then there is no comparison with theory."""
    na = given.na or picture.na
    mode = (facts.mode or "").lower()
    modality = given.modality or _MODALITIES.get(mode, "widefield")
    emission, excitation = given.emission_nm or facts.emission_nm, given.excitation_nm or facts.excitation_nm
    needed = emission if modality in ("widefield", "spinning-disk") else excitation
    if not na or not needed:
        return None
    index = given.refractive_index or picture.refractive_index or (1.0 if na < 1 else 1.515)
    return Optics(na, index, emission and emission / 1e3, excitation and excitation / 1e3, modality)


def _psf(picture: Picture, channel: int, given: Given) -> Outcome:
    facts = picture.channels[channel]
    stack = _volume(picture, channel)
    pixel, step = given.pixel_um or picture.pixel_um, given.z_step_um or picture.z_step_um
    analysis = psf(stack, pixel, step, _optics(picture, facts, given), given.bead_um, given.full_scale)
    return Outcome(analysis, (facts.name,))


def _pairs(pictures: Sequence[Picture], given: Given) -> list[Outcome]:
    """Every pair of channels of the first image, or of images in files of their own."""
    volumes = [(picture, c, _volume(picture, c)) for picture in pictures for c in range(len(picture.channels))]
    if len(volumes) < 2:
        raise Rejected("co-registration needs two channels of the same beads")
    found = []
    for (one, c, first), (two, d, second) in combinations(volumes, 2):
        pixel, step = given.pixel_um or one.pixel_um, given.z_step_um or one.z_step_um
        longer = max((one.channels[c], two.channels[d]), key=lambda facts: facts.emission_nm or 0)
        analysis = coregistration(first, second, pixel, step, _optics(one, longer, given), given.full_scale)
        found.append(Outcome(analysis, (one.channels[c].name, two.channels[d].name)))
    return found


# Stage and pixel size


def _series(pictures: Sequence[Picture]) -> Image:
    """(T, Y, X): the first channel and plane of each time point; images of their own are time points too."""
    shapes = {picture.pixels.shape[3:] for picture in pictures}
    if len(shapes) > 1:
        raise Rejected(f"frames of different sizes {sorted(shapes)} cannot be compared")
    return np.concatenate([_frames(p) if p.pixels.shape[1] == 1 else p.pixels[:, 0, 0] for p in pictures])


def _stacks(pictures: Sequence[Picture]) -> Image | None:
    """(T, Z, Y, X) of the first channel, where the images are stacks in depth."""
    if any(picture.pixels.shape[2] < 3 for picture in pictures):
        return None
    if len({picture.pixels.shape[2:] for picture in pictures}) > 1:
        raise Rejected("stacks of different sizes cannot be compared")
    return np.concatenate([picture.pixels[:, 0] for picture in pictures])


def _stage(pictures: Sequence[Picture], given: Given) -> Analysis:
    if given.series not in (None, "hold", "return"):
        raise Rejected(f"stage: series {given.series!r} is none of 'hold' and 'return'")
    stacks = _stacks(pictures)
    if stacks is not None:
        first = pictures[0]
        interval = tuple(given.interval_s * t for t in range(len(stacks))) if given.interval_s else first.times_s
        pixel, step = given.pixel_um or first.pixel_um, given.z_step_um or first.z_step_um
        return depth(stacks, pixel, step, (interval or None) if given.series == "hold" else None)
    frames = _series(pictures[:1] if len(pictures[0].pixels) > 1 else pictures)
    pixel = given.pixel_um or pictures[0].pixel_um
    if given.series == "return":
        return returns(frames, pixel)
    times = tuple(given.interval_s * t for t in range(len(frames))) if given.interval_s else pictures[0].times_s
    if given.series is None and not times:
        raise Rejected("stage: say --series return (one frame a return) or --series hold with --interval (seconds)")
    return hold(frames, times or None, pixel, given.settled_below_um)


def _pixel_size(pictures: Sequence[Picture], given: Given) -> Analysis:
    stage = given.stage_um or tuple(place for picture in pictures for place in picture.stage_um)
    if given.spacing_um is not None:
        return from_micrometer(_series(pictures)[0], given.spacing_um)
    frames = _series(pictures)
    if len(frames) < 3 or len(stage) != len(frames):
        raise Rejected("pixel size: give the line spacing of a micrometer, or frames at known stage positions")
    return from_moves(frames, np.array(stage))
