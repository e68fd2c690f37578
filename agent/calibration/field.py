"""Field illumination: uniformity, centring, corner ratios and flat-field profile of an evenly fluorescent slide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.calibration.frames import Floats, Image, check_stack, saturation_level
from agent.calibration.result import Analysis, Findings
from agent.errors import Rejected

SOURCES = (
    "uniformity: 100*min/max of the fitted profile (MetroloJ_QC, ISO 21073 4.2)",
    "centring accuracy: 100-200*distance(maximum, image centre)/diagonal (MetroloJ_QC, ISO 21073 4.2)",
    "regions: mean of the fitted profile, ratio to its maximum; names as in microscope-metrics",
)
_BLOCKS = 32
_DEGREES = (2, 4, 6, 8, 10)
_CORNER = 0.1
_GRID = 65
_SAMPLES = 15


@dataclass(frozen=True, slots=True)
class _Profile:
    """log(intensity) as a polynomial on [-1, 1]^2, with the covariance of its coefficients."""

    powers: tuple[tuple[int, int], ...]
    coefficients: Floats
    covariance: Floats
    r2: float
    chi2: float

    def basis(self, x: Floats, y: Floats) -> Floats:
        """Value of each term at points, (points, terms)."""
        degree = max(a + b for a, b in self.powers)
        px, py = np.polynomial.legendre.legvander(x, degree), np.polynomial.legendre.legvander(y, degree)
        return np.stack([px[:, a] * py[:, b] for a, b in self.powers], axis=1)

    def log(self, x: Floats, y: Floats) -> Floats:
        return np.asarray(self.basis(x, y) @ self.coefficients)


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
    if np.median(light) <= 0:
        raise Rejected(f"field: the image is not brighter than the offset of {offset_adu} ADU")
    profile, finer = _fit(light)
    if profile.r2 < 0.5:
        out.remark("hardly any shape above the noise: the field is flat, or the image is dim")
    _evenness(profile, finer, light, out)
    out.fit |= {"r2": profile.r2, "reduced_chi_square": profile.chi2, "terms": len(profile.powers)}
    return out.done()


def _fit(light: Floats) -> tuple[_Profile, _Profile]:
    """The polynomial in the logarithm with the lowest AIC, and the next finer one; a Gaussian is of degree 2 there."""
    x, y, values, variances, size = _blocks(light)
    values = values / _blur(_polynomial(x, y, values, variances, _DEGREES[1]), x, y, size, light.shape)
    best = _polynomial(x, y, values, variances, _DEGREES[0])
    for degree in _DEGREES[1:]:
        finer = _polynomial(x, y, values, variances, degree)
        if _aic(finer, len(values)) >= _aic(best, len(values)):
            break
        best = finer
    return best, finer


def _blur(profile: _Profile, x: Floats, y: Floats, size: int, shape: tuple[int, ...]) -> Floats:
    """Mean of each block over the intensity at its centre: a curved profile is not at its mean in the middle."""
    step = np.sqrt((size**2 - 1) / 6)
    dx, dy = (2 * step / (total - 1) for total in reversed(shape))
    around = [profile.log(x + dx, y), profile.log(x - dx, y), profile.log(x, y + dy), profile.log(x, y - dy)]
    return np.asarray(np.mean(np.exp(np.array(around) - profile.log(x, y)), axis=0))


def _aic(profile: _Profile, count: int) -> float:
    return count * float(np.log(profile.chi2)) + 2 * len(profile.powers)


def _blocks(light: Floats) -> tuple[Floats, Floats, Floats, Floats, int]:
    """Means of square blocks: (x, y, mean, its variance, size in pixels); x and y from -1 to 1."""
    height, width = light.shape
    size = max(2, min(height, width) // _BLOCKS)
    rows, columns = height // size, width // size
    cut = light[: rows * size, : columns * size].reshape(rows, size, columns, size)
    values = cut.mean(axis=(1, 3)).ravel()
    variances = cut.var(axis=(1, 3), ddof=1).ravel() / size**2
    centre = (np.arange(max(rows, columns)) + 0.5) * size - 0.5
    y, x = np.meshgrid(_unit(centre[:rows], height), _unit(centre[:columns], width), indexing="ij")
    if np.mean(values > 0) < 0.9:
        raise Rejected("field: a tenth of the image is not brighter than the offset: parts of the field are dark")
    return x.ravel(), y.ravel(), values, variances, size


def _unit(pixel: Floats, size: int) -> Floats:
    """Pixel coordinate to [-1, 1]; the outermost pixel centres are the ends."""
    return np.asarray(2 * pixel / (size - 1) - 1)


def _polynomial(x: Floats, y: Floats, values: Floats, variances: Floats, degree: int) -> _Profile:
    """Weighted least squares of exp(polynomial), blocks with dust or a bright speck weighted down (Huber).

    The noise of a block is taken from the model, as noise that each block tells of itself would favour dim ones.
    """
    powers = tuple((a, b) for a in range(degree + 1) for b in range(degree + 1 - a))
    matrix = _Profile(powers, np.zeros(len(powers)), np.zeros((0, 0)), 0.0, 0.0).basis(x, y)
    typical = float(np.median(values))
    usable = values > 0.02 * typical
    start = matrix[usable]
    coefficients = np.linalg.solve(start.T @ start, start.T @ np.log(values[usable]))
    noise = _noise(values, variances)
    floor = 0.05 * float(np.median(variances)) + 1e-12 * typical**2
    trust = np.ones_like(values)
    for _ in range(12):
        model = np.exp(np.minimum(matrix @ coefficients, np.log(values.max()) + 2))
        sigma = np.sqrt(np.maximum(noise[0] + noise[1] * model, floor))
        residual = (values - model) / sigma
        scale = max(1.4826 * float(np.median(np.abs(residual))), 1e-12)
        trust = np.minimum(1.0, 3 * scale / np.maximum(np.abs(residual), 1e-12))
        slope = matrix * (model / sigma)[:, None]
        normal = (slope.T * trust) @ slope
        step = np.linalg.solve(normal, slope.T @ (trust * residual))
        coefficients = coefficients + step
        if np.abs(step).max() < 1e-7:
            break
    freedom = max(len(values) - len(powers), 1)
    chi2 = max(float(np.sum(trust * np.square(residual))) / freedom, 1e-12)
    weight = 1 / np.square(sigma)
    spread = float(np.sum(weight * np.square(values - np.average(values, weights=weight))))
    r2 = 1 - chi2 * freedom / spread if spread > 0 else 0.0
    return _Profile(powers, np.asarray(coefficients, dtype=np.float64), np.linalg.inv(normal) * chi2, r2, chi2)


def _noise(values: Floats, variances: Floats) -> tuple[float, float]:
    """variance = first + second * value, as light has it."""
    centred = values - values.mean()
    power = float(centred @ centred)
    slope = max(float(centred @ variances) / power, 0.0) if power > 0 else 0.0
    return float(variances.mean()) - slope * float(values.mean()), slope


def _evenness(profile: _Profile, finer: _Profile, light: Floats, out: Findings) -> None:
    height, width = light.shape
    line = np.linspace(-1, 1, _GRID)
    y, x = (grid.ravel() for grid in np.meshgrid(line, line, indexing="ij"))
    logs = profile.log(x, y)
    dimmest = int(logs.argmin())
    bright, inside = _maximum(profile, np.array([x[logs.argmax()], y[logs.argmax()]]))
    top = float(np.exp(profile.log(bright[:1], bright[1:])[0]))
    low = np.array([x[dimmest], y[dimmest]])
    uniformity, error = _ratio(profile, low, bright)
    # What a finer model says differently is a systematic error of this one.
    model = abs(_ratio(finer, low, bright)[0] - uniformity)
    out.add("uniformity_percent", 100 * uniformity, "%", 196 * float(np.hypot(error, model)))
    out.add("max_intensity", top, "ADU", 1.96 * top * _log_error(profile, bright))
    _centre(profile, bright, inside, (height, width), out)
    _regions(profile, (height, width), top, out)
    out.arrays |= {"profile": np.exp(logs).reshape(_GRID, _GRID) / top, "shape": np.array([height, width])}


def _ratio(profile: _Profile, low: Floats, high: Floats) -> tuple[float, float]:
    """Intensity at one place over that at another, and its standard error."""
    terms = profile.basis(low[:1], low[1:])[0] - profile.basis(high[:1], high[1:])[0]
    ratio = float(np.exp(terms @ profile.coefficients))
    return ratio, ratio * float(np.sqrt(terms @ profile.covariance @ terms))


def _log_error(profile: _Profile, point: Floats) -> float:
    terms = profile.basis(point[:1], point[1:])[0]
    return float(np.sqrt(terms @ profile.covariance @ terms))


def _maximum(profile: _Profile, point: Floats) -> tuple[Floats, bool]:
    """The maximum near a point of the grid, and whether it lies inside the field."""
    for _ in range(20):
        gradient, hessian, _ = _derivatives(profile, point)
        if np.any(np.linalg.eigvalsh(hessian) >= 0):
            break
        step = -np.linalg.solve(hessian, gradient)
        step *= min(1.0, 0.1 / max(float(np.hypot(*step)), 1e-12))
        point = np.clip(point + step, -1, 1)
        if np.hypot(*step) < 1e-9:
            break
    return point, bool(np.all(np.abs(point) < 1))


def _derivatives(profile: _Profile, point: Floats) -> tuple[Floats, Floats, Floats]:
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


def _centre(profile: _Profile, bright: Floats, inside: bool, shape: tuple[int, int], out: Findings) -> None:
    height, width = shape
    half_size = np.array([(width - 1) / 2, (height - 1) / 2])
    error = np.zeros((2, 2))
    if inside:
        _, hessian, first = _derivatives(profile, bright)
        turn = np.linalg.solve(hessian, first)
        error = turn @ profile.covariance @ turn.T
    else:
        out.doubt("the brightest place is at the border of the field: its true centre lies outside")
    centre = (bright + 1) * half_size
    sigma = np.sqrt(np.diag(error)) * half_size
    for number, axis in enumerate("xy"):
        half = 1.96 * float(sigma[number]) if inside else None
        out.add(f"center_fitted_{axis}", float(centre[number]), "px", half)
        relative = float(bright[number])
        out.add(
            f"center_fitted_{axis}_relative",
            relative,
            None,
            half / float(half_size[number]) if half is not None else None,
        )
    out.add("center_fitted_distance_relative", float(np.hypot(*bright)), None)
    away = bright * half_size
    distance = float(np.hypot(*away))
    scaled = error * np.outer(half_size, half_size)
    along = away / distance if distance > 0 else np.array([1.0, 0.0])
    spread = float(np.sqrt(along @ scaled @ along))
    diagonal = float(np.hypot(width, height))
    centring = 100 - 200 * distance / diagonal
    out.add("centring_accuracy_percent", centring, "%", 1.96 * 200 / diagonal * spread if inside else None)


def _regions(profile: _Profile, shape: tuple[int, int], top: float, out: Findings) -> None:
    """Nine squares of a tenth of the size: corners, edges, the middle. Of the profile: dust and noise are not light."""
    height, width = shape
    size = max(1, int(_CORNER * (height + width) / 2))
    starts = [(0, (total - size) // 2, total - size) for total in (height, width)]
    offsets = np.linspace(0, size - 1, min(size, _SAMPLES))
    outer = []
    for vertical, row in zip(("top", "middle", "bottom"), starts[0], strict=True):
        for horizontal, column in zip(("left", "center", "right"), starts[1], strict=True):
            y, x = (g.ravel() for g in np.meshgrid(_unit(row + offsets, height), _unit(column + offsets, width)))
            terms = profile.basis(x, y)
            values = np.exp(terms @ profile.coefficients)
            mean = float(values.mean())
            slope = values @ terms / len(values)
            half = 1.96 * float(np.sqrt(slope @ profile.covariance @ slope))
            name = f"{vertical}_{horizontal}_intensity"
            out.add(f"{name}_mean", mean, "ADU", half)
            out.add(f"{name}_ratio", mean / top, None, half / top)
            if (vertical, horizontal) != ("middle", "center"):
                outer.append(mean)
    out.add("field_uniformity_percent", 100 - 100 * float(np.std(outer, ddof=1)) / top, "%")
