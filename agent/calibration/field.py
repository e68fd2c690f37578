"""Field illumination: uniformity, centring, corner ratios and flat-field profile of an evenly fluorescent slide."""

from __future__ import annotations

import numpy as np

from agent.calibration.frames import Floats, Image, check_stack, saturation_level
from agent.calibration.illumination import Surface, surfaces, unit
from agent.calibration.result import Analysis, Findings
from agent.errors import Rejected

SOURCES = (
    "uniformity: 100*min/max of the fitted profile (MetroloJ_QC, ISO 21073 4.2)",
    "centring accuracy: 100-200*distance(maximum, image centre)/diagonal (MetroloJ_QC, ISO 21073 4.2)",
    "regions: mean of the fitted profile, ratio to its maximum; names as in microscope-metrics",
)
_CORNER = 0.1
_GRID = 65
_SAMPLES = 15
_DRAWS = 300


def field(image: Image, offset_adu: float | None = None, full_scale: float | None = None) -> Analysis:
    """Analyse an image (Y, X), or frames (T, Y, X) that are averaged, in ADU.

    offset_adu: what the camera says without light; without it the ratios count the offset as light, and the
    quality is low. Rejected when saturated or not brighter than the offset.
    """
    frames = check_stack("field", image if image.ndim == 3 else image[np.newaxis], "TYX", 1)
    saturates = saturation_level([frames], full_scale)
    if saturates is not None and float((frames >= saturates).mean()) > 1e-4:
        raise Rejected(f"field: pixels are saturated at {saturates:.0f}: shorten the exposure")
    out = Findings("field", SOURCES)
    if offset_adu is None:
        out.doubt("the camera's offset is not known and counts as light: calibrate the detector, or give the offset")
    light = frames.mean(axis=0, dtype=np.float64) - (offset_adu or 0.0)
    if np.median(light[::4, ::4]) <= 0:
        raise Rejected(f"field: the image is not brighter than the offset of {offset_adu} ADU")
    profile, *rivals = surfaces(light)
    if profile.r2 < 0.5:
        out.remark("hardly any shape above the noise: the field is flat, or the image is dim")
    _evenness(profile, rivals, light, out)
    out.fit |= {"r2": profile.r2, "reduced_chi_square": profile.chi2, "terms": len(profile.powers)}
    return out.done()


def _evenness(profile: Surface, rivals: list[Surface], light: Floats, out: Findings) -> None:
    height, width = light.shape
    line = np.linspace(-1, 1, _GRID)
    y, x = (grid.ravel() for grid in np.meshgrid(line, line, indexing="ij"))
    values = profile.value(x, y)
    bright, inside = _maximum(profile, np.array([x[values.argmax()], y[values.argmax()]]))
    top = float(profile.value(bright[:1], bright[1:])[0])
    low = np.array([x[values.argmin()], y[values.argmin()]])
    uniformity, error = _ratio(profile, low, bright)
    others = [_ratio(rival, low, bright) for rival in rivals]
    model = max(_beyond(other - uniformity, again, error) for other, again in others)
    out.add("uniformity_percent", 100 * uniformity, "%", 196 * float(np.hypot(error, model)))
    out.add("max_intensity", top, "ADU", 1.96 * top * _log_error(profile, bright))
    _centre(profile, rivals, bright, inside, (height, width), out)
    _regions(profile, (height, width), top, out)
    out.arrays |= {"profile": values.reshape(_GRID, _GRID) / top, "shape": np.array([height, width])}


def _ratio(profile: Surface, low: Floats, high: Floats) -> tuple[float, float]:
    """Intensity at one place over that at another, and its standard error."""
    (dim, top), each = profile.with_terms(*np.stack([low, high], axis=1))
    terms, ratio = each[0] - each[1], float(dim / top)
    return ratio, ratio * float(np.sqrt(terms @ profile.covariance @ terms))


def _beyond(difference: float, other: float, error: float) -> float:
    """Systematic error: what a model that fits as well says differently, beyond what its own larger error explains."""
    # Half of it, as the models share data and the difference of one case tells little of its spread.
    return float(np.sqrt(max(difference**2 - 0.5 * max(other**2 - error**2, 0.0), 0.0)))


def _log_error(profile: Surface, point: Floats) -> float:
    terms = profile.with_terms(point[:1], point[1:])[1][0]
    return float(np.sqrt(terms @ profile.covariance @ terms))


def _maximum(profile: Surface, point: Floats) -> tuple[Floats, bool]:
    """The maximum near a point of the grid, and whether it lies inside the field."""
    for _ in range(20):
        gradient, hessian, _ = _derivatives(profile, point)
        if np.any(np.linalg.eigvalsh(hessian) >= 0):
            break
        step = -np.linalg.solve(hessian, gradient)
        step *= min(1.0, 0.1 / max(float(np.hypot(*step)), 1e-12))
        point = np.clip(point + step, -1, 1)
        if np.hypot(*step) < 1e-7:
            break
    return point, bool(np.all(np.abs(point) < 1))


def _derivatives(profile: Surface, point: Floats) -> tuple[Floats, Floats, Floats]:
    """Gradient, Hessian and the gradient of each term, by central differences (exact enough for degree 6)."""
    h = 1e-3
    dx, dy = np.array([h, 0.0]), np.array([0.0, h])
    spots = np.array([point, *(point + s for s in (dx, -dx, dy, -dy, dx + dy, dx - dy, dy - dx, -dx - dy))])
    terms = profile.basis(spots[:, 0], spots[:, 1])
    first = np.stack([terms[1] - terms[2], terms[3] - terms[4]]) / (2 * h)
    values = terms @ profile.coefficients
    xx = (values[1] - 2 * values[0] + values[2]) / h**2
    yy = (values[3] - 2 * values[0] + values[4]) / h**2
    xy = (values[5] - values[6] - values[7] + values[8]) / (4 * h**2)
    return first @ profile.coefficients, np.array([[xx, xy], [xy, yy]]), first


def _centre(
    profile: Surface, rivals: list[Surface], bright: Floats, inside: bool, shape: tuple[int, int], out: Findings
) -> None:
    height, width = shape
    half_size = np.array([(width - 1) / 2, (height - 1) / 2])
    if not inside:
        out.doubt("the brightest place is at the border of the field: its true centre lies outside")
    places = _places(profile, rivals, bright, inside)
    centre = (bright + 1) * half_size
    for number, axis in enumerate("xy"):
        around = None if places is None else _interval(float(bright[number]), places[:, number])
        low, high = ((end + 1) * float(half_size[number]) for end in around or (0.0, 0.0))
        scaled = (low, high) if around else None
        out.between(f"center_fitted_{axis}", float(centre[number]), "px", scaled)
        out.between(f"center_fitted_{axis}_relative", float(bright[number]), None, around)
    out.add("center_fitted_distance_relative", float(np.hypot(*bright)), None)
    diagonal = float(np.hypot(width, height))

    def centring(points: Floats) -> Floats:
        return np.asarray(100 - 200 * np.hypot(*(points * half_size).T) / diagonal)

    value = float(centring(bright[np.newaxis])[0])
    known = None if places is None else _interval(value, centring(places))
    out.between("centring_accuracy_percent", value, "%", known)


def _places(profile: Surface, rivals: list[Surface], bright: Floats, inside: bool) -> Floats | None:
    """Where the maximum may be as well, (n, 2): drawn from the errors of the fit, moved as other models move it.

    None where it lies outside the field.
    """
    random = np.random.default_rng(0)
    error = _place_error(profile, bright) if inside else np.full((2, 2), np.inf)
    if float(np.diag(error).max()) <= (2 / _GRID) ** 2:
        draws = random.multivariate_normal(bright, error, _DRAWS)
    else:
        # A flat top: the maximum jumps about, and a straight line through its errors says nothing.
        draws = _drawn_maxima(profile, random)
        if not inside and float(draws.std(axis=0).max()) < 2 / _GRID:
            return None
        error = np.cov(draws.T)
    moves = np.array([_move(rival, bright, error) for rival in rivals]).max(axis=0)
    return np.asarray(draws + moves * random.standard_normal(draws.shape))


def _place_error(profile: Surface, point: Floats) -> Floats:
    """Covariance of the place of a maximum."""
    _, hessian, first = _derivatives(profile, point)
    turn = np.linalg.solve(hessian, first)
    return np.asarray(turn @ profile.covariance @ turn.T)


def _move(rival: Surface, bright: Floats, error: Floats) -> list[float]:
    """How far along x and y another model puts the maximum, beyond its own errors."""
    place, inside = _maximum(rival, bright)
    own = _place_error(rival, place) if inside else error
    return [
        _beyond(float(place[axis] - bright[axis]), float(np.sqrt(own[axis, axis])), float(np.sqrt(error[axis, axis])))
        for axis in (0, 1)
    ]


def _drawn_maxima(profile: Surface, random: np.random.Generator) -> Floats:
    """Maxima on the grid of surfaces drawn from the errors of the fit, (n, 2) as x, y."""
    line = np.linspace(-1, 1, _GRID)
    y, x = (grid.ravel() for grid in np.meshgrid(line, line, indexing="ij"))
    drawn = random.multivariate_normal(profile.coefficients, profile.covariance, _DRAWS)
    top = (profile.basis(x, y) @ drawn.T).argmax(axis=0)
    return np.stack([x[top], y[top]], axis=1)


def _interval(value: float, drawn: Floats) -> tuple[float, float]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return min(float(low), value), max(float(high), value)


def _regions(profile: Surface, shape: tuple[int, int], top: float, out: Findings) -> None:
    """Nine squares of a tenth of the size: corners, edges, the middle. Of the profile: dust and noise are not light."""
    height, width = shape
    size = max(1, int(_CORNER * (height + width) / 2))
    starts = [(0, (total - size) // 2, total - size) for total in (height, width)]
    offsets = np.linspace(0, size - 1, min(size, _SAMPLES))
    outer = []
    for vertical, row in zip(("top", "middle", "bottom"), starts[0], strict=True):
        for horizontal, column in zip(("left", "center", "right"), starts[1], strict=True):
            y, x = (g.ravel() for g in np.meshgrid(unit(row + offsets, height), unit(column + offsets, width)))
            values, terms = profile.with_terms(x, y)
            mean = float(values.mean())
            slope = values @ terms / len(values)
            half = 1.96 * float(np.sqrt(slope @ profile.covariance @ slope))
            name = f"{vertical}_{horizontal}_intensity"
            out.add(f"{name}_mean", mean, "ADU", half)
            out.add(f"{name}_ratio", mean / top, None, half / top)
            if (vertical, horizontal) != ("middle", "center"):
                outer.append(mean)
    out.add("field_uniformity_percent", 100 - 100 * float(np.std(outer, ddof=1)) / top, "%")
