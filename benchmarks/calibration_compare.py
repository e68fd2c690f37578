"""Our field and bead analyses against microscopemetrics 0.2.4 on the same synthetic images, in one run.

    python benchmarks/calibration_compare.py [--cases 10] [--python /path/to/environment/bin/python]

microscopemetrics is installed into an environment of its own (its dependencies conflict with ours), unless
`--python` names one that has it. Only the analysis calls are timed, not imports. Bars: at least as accurate on
every shared measurement (mean absolute error over the cases), and at least five times faster.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np
from calibration_truth import bead_stack, camera, places_of

from agent.calibration.field import field
from agent.calibration.psf import psf

WORKER = """
import json, logging, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
import microscopemetrics as mm
import microscopemetrics_schema.datamodel as schema
from microscopemetrics.analyses import field_illumination, psf_beads, numpy_to_mm_image
logging.disable(logging.CRITICAL)
said = []
def common():
    protocol = dict(name="x", version="1", url="https://example.org")
    return dict(
        microscope=schema.Microscope(name="x"), experimenter=None, acquisition_datetime="2025-01-01T00:00:00",
    )
def sample(kind):
    protocol = schema.Protocol(name="x", version="1", url="https://example.org/x")
    if kind == "field":
        return schema.HomogeneousField(name="x", preparation_protocol=protocol)
    return schema.PSFBeads(name="x", preparation_protocol=protocol, bead_diameter_micron=0.1)
for line in sys.stdin:
    case = json.loads(line)
    array = np.load(case["file"])
    try:
        if case["kind"] == "field":
            image = numpy_to_mm_image(array[None, None, :, :, None], name="x", channel_names=["c"])
            data = schema.FieldIlluminationDataset(
                name="x", **common(), sample=sample("field"),
                input_data=schema.FieldIlluminationInputData(field_illumination_images=[image]),
                input_parameters=schema.FieldIlluminationInputParameters(bit_depth=16),
            )
            began = time.perf_counter()
            field_illumination.analyse_field_illumination(data)
            took = time.perf_counter() - began
            found = data.output.key_measurements[0]
        else:
            image = numpy_to_mm_image(array[None, :, :, :, None], name="x", channel_names=["c"])
            image.voxel_size_x_micron = image.voxel_size_y_micron = case["pixel"]
            image.voxel_size_z_micron = case["step"]
            data = schema.PSFBeadsDataset(
                name="x", **common(), sample=sample("psf"),
                input_data=schema.PSFBeadsInputData(psf_beads_images=[image]),
                input_parameters=schema.PSFBeadsInputParameters(
                    bit_depth=16, min_lateral_distance_factor=case["distance"], snr_threshold=5.0
                ),
            )
            began = time.perf_counter()
            psf_beads.analyse_psf_beads(data)
            took = time.perf_counter() - began
            found = data.output.key_measurements[0]
        values = {k: v for k, v in vars(found).items() if isinstance(v, (int, float)) and v == v}
        print(json.dumps({"values": values, "seconds": took}), flush=True)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
"""


def environment(folder: Path) -> Path:
    """An environment with microscopemetrics 0.2.4."""
    venv.EnvBuilder(with_pip=True).create(folder)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    subprocess.run([str(python), "-m", "pip", "install", "-q", "microscopemetrics==0.2.4"], check=True)
    return python


def field_case(rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
    """A Gaussian field without offset, as microscopemetrics knows of none; truth by their names."""
    height = width = 512
    y, x = np.mgrid[:height, :width].astype(float)
    cx, cy = width * rng.uniform(0.35, 0.65), height * rng.uniform(0.35, 0.65)
    sigma = width * rng.uniform(0.5, 1.0)
    light = rng.uniform(1000, 8000) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 2 / sigma**2)
    image = camera(rng, light, 0.5, 0.0, 0.0)
    adu = light / 0.5
    truth = {"center_fitted_x": cx, "center_fitted_y": cy, "max_intensity": float(adu.max())}
    size = int(0.1 * height)
    low = (height - size) // 2
    spans = {"top": slice(0, size), "middle": slice(low, low + size), "bottom": slice(height - size, height)}
    across = {"left": slice(0, size), "center": slice(low, low + size), "right": slice(width - size, width)}
    for v, rows in spans.items():
        for h, columns in across.items():
            mean = float(adu[rows, columns].mean())
            truth[f"{v}_{h}_intensity_mean"] = mean
            truth[f"{v}_{h}_intensity_ratio"] = mean / float(adu.max())
    return image, truth


def psf_case(rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float], float, float]:
    """Beads in rows, well apart; truth by their names."""
    sigma = (rng.uniform(1.6, 2.2), *rng.uniform(1.1, 1.6, 2))
    shape = (41, 256, 256)
    places = places_of(rng, shape, 48)
    stack = bead_stack(rng, shape, places, sigma, rng.uniform(1500, 3000) * rng.normal(1, 0.02, len(places)), 20)
    pixel, step = 0.1, 0.2
    fwhm = 2.354820045 * np.array(sigma) * [step, pixel, pixel]
    truth = {
        f"fwhm_micron_{axis}_{kind}": float(v)
        for axis, v in zip("zyx", fwhm, strict=True)
        for kind in ("mean", "median")
    }
    truth |= {f"fwhm_pixel_{axis}_median": float(s * 2.354820045) for axis, s in zip("zyx", sigma, strict=True)}
    truth["fwhm_lateral_asymmetry_ratio_mean"] = max(sigma[1:]) / min(sigma[1:])
    truth["considered_valid_count"] = len(places)
    return stack, truth, pixel, step


class Theirs:
    """microscopemetrics in its own process, one case a line."""

    def __init__(self, python: Path) -> None:
        self.process = subprocess.Popen(
            [str(python), "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, **case: object) -> dict:
        self.process.stdin.write(json.dumps(case) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("{"):
                said = json.loads(line)
                if "error" in said:
                    print(f"  theirs: {said['error'][:150]}", file=sys.stderr)
                return said
        raise SystemExit("microscopemetrics ended")


def compare(kind: str, cases: int, theirs: Theirs, folder: Path) -> bool:
    rng = np.random.default_rng(4)
    errors: dict[str, list[tuple[float, float]]] = {}
    seconds: list[tuple[float, float]] = []
    for _ in range(cases):
        path = folder / "case.npy"
        if kind == "field":
            image, truth = field_case(rng)
            np.save(path, image)
            said = theirs.ask(kind=kind, file=str(path))
            began = time.perf_counter()
            found = field(image, 0.0)
        else:
            image, truth, pixel, step = psf_case(rng)
            np.save(path, image)
            said = theirs.ask(kind=kind, file=str(path), pixel=pixel, step=step, distance=20.0)
            began = time.perf_counter()
            found = psf(image, pixel, step)
        ours = time.perf_counter() - began
        if "error" in said:
            continue
        seconds.append((ours, said["seconds"]))
        for name, true in truth.items():
            if name in said["values"] and name in found.metrics:
                errors.setdefault(name, []).append(
                    (abs(found.metrics[name].value - true) / abs(true), abs(said["values"][name] - true) / abs(true))
                )
    return _table(kind, errors, seconds)


def _table(kind: str, errors: dict[str, list[tuple[float, float]]], seconds: list[tuple[float, float]]) -> bool:
    print(f"{kind}: {len(seconds)} cases\n  {'mean relative error, %':40} {'ours':>10} {'theirs':>10}")
    good = bool(seconds)
    for name, pairs in errors.items():
        ours, other = 100 * np.mean(pairs, axis=0)
        better = ours <= other * 1.02 + 1e-9
        good &= bool(better)
        print(f"  {name:40} {ours:10.4f} {other:10.4f}{'' if better else '   WORSE'}")
    if seconds:
        ours, other = np.median(seconds, axis=0)
        print(f"  {'median seconds':40} {ours:10.4f} {other:10.4f}   {other / ours:.1f} times faster")
        good &= bool(other / ours >= 5)
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10)
    parser.add_argument("--python", type=Path)
    wish = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        theirs = Theirs(wish.python or environment(folder / "microscopemetrics"))
        good = [compare(kind, wish.cases, theirs, folder) for kind in ("field", "psf")]
        theirs.process.stdin.close()
        theirs.process.wait()
    print("at least as accurate and five times faster" if all(good) else "NOT met")
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
