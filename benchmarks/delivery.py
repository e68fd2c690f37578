"""Delivery side by side with others, in one run: `python benchmarks/delivery.py [s3|folder|facility ...]`.

Ours counts everything: outbox, hashing, verification, commit. Environment: SCOPE_AGENT_SERVERS names the folder of
rclone (and of Python with tuspy, tuspyserver and uvicorn); ROUNDS (5), SHAPES (small,med,big), FOLDER (on a disk).
Contenders take turns; medians with their range, wall seconds and client CPU seconds for each GiB.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SERVERS = Path(os.environ.get("SCOPE_AGENT_SERVERS", "/usr/bin"))
HERE = Path(__file__).resolve().parent
SHAPES = {"big": (1, 2 << 30), "med": (200, 10 << 20), "small": (10_000, 64 << 10)}
DATASET = "lab/scope/2026/01/02/030405_bench_{:08x}"
KEY, SECRET = "agentkey", "agentsecret123"

Result = tuple[float, float, float]
"""Wall seconds, CPU seconds, peak memory in MiB."""


def make(folder: Path, shape: str) -> Path:
    count, size = SHAPES[shape]
    made = folder / shape
    made.mkdir(parents=True)
    block = os.urandom(min(size, 64 << 20))
    for number in range(count):
        with (made / f"{number:05}.bin").open("wb") as file:
            for at in range(0, size, len(block)):
                file.write(block[: size - at])
            file.seek(0)
            file.write(number.to_bytes(8, "big"))
    return made


def process(command: list[str], **more) -> Result:
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout[-2000:]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, cpu, after.ru_maxrss / 1024


def child(what: str, *arguments: str, python: Path | None = None) -> Result:
    """Measured inside the child, so that importing counts for nobody."""
    command = [str(python or sys.executable), str(Path(__file__).resolve()), "--child", what, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout
    wall, cpu, memory = done.stdout.split()[-3:]
    return float(wall), float(cpu), float(memory)


# What the children do


def ours(place: str, address: str, source: str, number: str, parallel: str) -> Callable[[], None]:
    from agent.acquisition import Acquisition, FoundBy, State
    from agent.delivery.settings import DeliverySettings
    from agent.delivery.targets import open_target
    from agent.delivery.worker import Worker
    from agent.outbox import NewFile, Outbox
    from agent.sources.identity import identity

    state = Path(tempfile.mkdtemp(dir=os.environ.get("FOLDER")))
    (state / "s3").write_text(f"{KEY}\n{SECRET}\n")
    told = {"target": place, "parallel": int(parallel), "chunk_mib": 8}
    match place:
        case "s3":
            told["s3"] = {"endpoint": address, "bucket": "bench", "credentials_file": state / "s3"}
        case "folder":
            told["folder"] = {"path": Path(address)}
        case _:
            told |= {"url": address, "token_file": Path(os.environ["TOKEN_FILE"])}
    settings = DeliverySettings.model_validate(told)
    outbox, target = Outbox.open(state / "o.sqlite"), open_target(settings, "bench")
    target.check()
    # The files' marks must be older than a tick of the file system's clock.
    time.sleep(0.1)

    def deliver() -> None:
        run = Acquisition("id", "o", FoundBy.WATCH, "x", State.DELIVERING, 1)
        found = ((name, f"{source}/{name}") for name in sorted(os.listdir(source)))  # noqa: PTH208
        files = (NewFile(f"data/{name}", path, "data", *identity(path)) for name, path in found)
        outbox.save(run, dataset=DATASET.format(int(number)), files=files)

        def seal(_entry, entries) -> dict[str, Path]:
            record = state / "acquisition.json"
            with record.open("w") as out:
                out.writelines(f"{entry.sha256}\n" for entry in entries)
            return {"acquisition.json": record}

        Worker(outbox, target, seal, lambda: False, settings.parallel).deliver(outbox.get("id"))
        shutil.rmtree(state, ignore_errors=True)

    return deliver


def bare_obstore(address: str, source: str, number: str) -> Callable[[], None]:
    from concurrent.futures import ThreadPoolExecutor

    import obstore
    from obstore.store import S3Store

    store = S3Store(
        "bench", endpoint=address, access_key_id=KEY, secret_access_key=SECRET, region="us-east-1",
        virtual_hosted_style_request=False, client_options={"allow_http": True},
    )  # fmt: skip

    def put(name: str) -> None:
        obstore.put(store, f"bare/{number}/{name}", Path(source, name), chunk_size=16 << 20, max_concurrency=4)

    def deliver() -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, sorted(os.listdir(source))))  # noqa: PTH208

    return deliver


def tuspy(address: str, source: str, _number: str) -> Callable[[], None]:
    from tusclient.client import TusClient

    def deliver() -> None:
        for path in sorted(Path(source).iterdir()):
            told = {"filename": path.name, "filetype": "application/octet-stream"}
            TusClient(address).uploader(str(path), chunk_size=8 << 20, metadata=told).upload()

    return deliver


def child_main(what: str, *arguments: str) -> None:
    deliver = {"ours": ours, "obstore": bare_obstore, "tuspy": tuspy}[what](*arguments)
    began, before = time.perf_counter(), time.process_time()
    deliver()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(time.perf_counter() - began, time.process_time() - before, memory)


# Far sides


@contextmanager
def server(command: list[str], port: int, **more) -> Iterator[str]:
    import socket

    with tempfile.TemporaryFile() as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, **more)
        try:
            for _ in range(400):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            # Asked, it ends its broker too; killed, it would leave it behind.
            running.terminate()
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


TUS_APP = """
from fastapi import FastAPI
from tuspyserver import create_tus_router
app = FastAPI()
app.include_router(create_tus_router(prefix="files", files_dir={folder!r}, max_size=1 << 40))
"""


# The comparisons


def against_s3(source: Path, numbers: Iterator[int]) -> dict[str, Callable[[], Result]]:
    port = free_port()
    stack.append(server([sys.executable, str(HERE / "null_s3.py"), str(port)], port))
    address = stack[-1].__enter__()
    rclone = str(SERVERS / "rclone")
    environment = {
        **os.environ, "RCLONE_CONFIG_N_TYPE": "s3", "RCLONE_CONFIG_N_PROVIDER": "Other",
        "RCLONE_CONFIG_N_ACCESS_KEY_ID": KEY, "RCLONE_CONFIG_N_SECRET_ACCESS_KEY": SECRET,
        "RCLONE_CONFIG_N_ENDPOINT": address, "RCLONE_CONFIG_N_REGION": "us-east-1",
    }  # fmt: skip

    def copy(*tuned: str) -> Result:
        common = ["--ignore-checksum", "--ignore-size", "--s3-no-head", "--s3-no-check-bucket", "--config", "/dev/null"]
        place = f"n:bench/rclone/{next(numbers)}"
        return process([rclone, "copy", str(source), place, *common, *tuned], env=environment)

    tuned = ["--transfers", "16", "--checkers", "16", "--s3-upload-concurrency", "8", "--s3-chunk-size", "16M"]
    tuned += ["--no-traverse", "--no-check-dest", "--buffer-size", "32M"]
    return {
        "scope-agent": lambda: child("ours", "s3", address, str(source), str(next(numbers)), "4"),
        "rclone": copy,
        "rclone tuned": lambda: copy(*tuned),
        "bare obstore": lambda: child("obstore", address, str(source), str(next(numbers))),
    }


def against_folder(source: Path, numbers: Iterator[int]) -> dict[str, Callable[[], Result]]:
    # Removed at the end: for minutes ext4 makes files slowly where many were removed.
    kept = tempfile.TemporaryDirectory(dir=os.environ.get("FOLDER"))
    stack.append(kept)
    place = Path(kept.__enter__())

    def anew(measure: Callable[[Path], Result]) -> Result:
        here = place / str(next(numbers))
        here.mkdir()
        os.sync()
        return measure(here)

    return {
        "scope-agent": lambda: anew(lambda here: child("ours", "folder", str(here), str(source), "1", "4")),
        "rsync -W": lambda: anew(lambda here: process(["rsync", "-W", "-r", f"{source}/", f"{here}/"])),
        "rsync -W --fsync": lambda: anew(
            lambda here: process(["rsync", "-W", "-r", "--fsync", f"{source}/", f"{here}/"])
        ),
    }


def against_facility(source: Path, numbers: Iterator[int]) -> dict[str, Callable[[], Result]]:
    from agent.facility.serve import create_token

    data = Path(tempfile.mkdtemp(dir=os.environ.get("FOLDER")))
    (data / "token").write_text(create_token(data, "lab/scope"))
    os.environ["TOKEN_FILE"] = str(data / "token")
    port, other = free_port(), free_port()
    command = [sys.executable, "-m", "agent", "facility", "serve", "--data", str(data), "--port", str(port)]
    stack.append(server(command, port, cwd=HERE.parent))
    address = stack[-1].__enter__()
    (data / "tusapp.py").write_text(TUS_APP.format(folder=str(data / "tus")))
    python = SERVERS / "python"
    tus = [str(python), "-m", "uvicorn", "tusapp:app", "--host", "127.0.0.1", "--port", str(other)]
    stack.append(server(tus, other, cwd=data))
    tus_address = stack[-1].__enter__()

    def clean(measure: Callable[[], Result]) -> Result:
        try:
            return measure()
        finally:
            shutil.rmtree(data / "tus", ignore_errors=True)
            (data / "tus").mkdir()
            for left in (data / "datasets").glob("*"):
                shutil.rmtree(left)

    return {
        "scope-agent": lambda: clean(lambda: child("ours", "facility", address, str(source), str(next(numbers)), "4")),
        "tuspy": lambda: clean(lambda: child("tuspy", f"{tus_address}/files/", str(source), "0", python=python)),
    }


stack: list = []
PLACES = {"s3": against_s3, "folder": against_folder, "facility": against_facility}


def main(places: list[str]) -> None:
    shapes = os.environ.get("SHAPES", "small,med,big").split(",")
    with tempfile.TemporaryDirectory(dir=os.environ.get("FOLDER")) as folder:
        numbers = iter(range(int(time.time()) % 100_000 * 1000, 1 << 40))
        for shape in shapes:
            source = make(Path(folder), shape)
            for place in places:
                try:
                    compare(place, shape, source, numbers)
                finally:
                    while stack:
                        stack.pop().__exit__(None, None, None)
            shutil.rmtree(source)


def compare(place: str, shape: str, source: Path, numbers: Iterator[int]) -> None:
    contenders = PLACES[place](source, numbers)
    results: dict[str, list[Result]] = defaultdict(list)
    for _ in range(ROUNDS):
        for name, measure in contenders.items():
            results[name].append(measure())
    report(place, shape, SHAPES[shape][0] * SHAPES[shape][1] / 2**30, results)


def report(place: str, shape: str, gib: float, results: dict[str, list[Result]]) -> None:
    own = statistics.median(wall for wall, _, _ in results["scope-agent"])
    for name, measured in results.items():
        walls, cpus = [wall for wall, _, _ in measured], [cpu / gib for _, cpu, _ in measured]
        wall = statistics.median(walls)
        print(
            f"{place:9} {shape:6} {name:18} {wall:7.2f} s [{min(walls):.2f}-{max(walls):.2f}] "
            f"{gib * 1073.74 / wall:7.0f} MB/s  cpu {statistics.median(cpus):6.2f} s/GiB  "
            f"{max(memory for _, _, memory in measured):5.0f} MiB  ours is {wall / own:5.2f} times as fast",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child_main(*sys.argv[2:])
    else:
        sys.path.insert(0, str(HERE.parent))
        threading.excepthook = lambda _: None
        main(sys.argv[1:] or list(PLACES))
