"""The demo's folder: generated config, instrument profile, and the environment of the demo microscope."""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
import venv
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from agent.errors import Misconfigured
from agent.hook import install
from agent.hook.known import forget

SITE = "demo-facility"
INSTRUMENT = "demo-scope"


@dataclass(frozen=True, slots=True)
class Folder:
    """Where everything of the demo lies."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def images(self) -> Path:
        """Where the demo microscope's user saves images."""
        return self.root / "images"

    @property
    def watched(self) -> Path:
        """The folder of the other program."""
        return self.root / "other-program"

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def facility(self) -> Path:
        return self.root / "facility"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def environment(self) -> Path:
        """The Python environment of the microscope's user."""
        return self.root / "microscope-environment"

    @property
    def python(self) -> Path:
        """Interpreter of that environment."""
        if sys.platform == "win32":
            return self.environment / "Scripts" / "python.exe"
        return self.environment / "bin" / "python"


def make(root: Path, existed: bool) -> Folder:
    """Make the folder and what is in it; Misconfigured when it cannot be written.

    A folder that had not `existed` before the demo is removed again then: nothing half-made is left behind.
    """
    folder = Folder(root.absolute())
    try:
        for path in (folder.images, folder.watched, folder.spool, folder.facility, folder.logs):
            path.mkdir(parents=True, exist_ok=True)
        for name in ("microscope.py", "vendor.py"):
            (folder.root / name).write_bytes(files(__package__).joinpath(name).read_bytes())
        profile = files("agent.snapshot").joinpath("demo_instrument.toml").read_bytes()
        (folder.root / "instrument.toml").write_bytes(profile)
        _make_environment(folder)
    except OSError as error:
        if not existed:
            shutil.rmtree(folder.root, ignore_errors=True)
        raise Misconfigured(
            f"the demo folder {folder.root} cannot be written: {error.strerror or error}; choose another with --dir"
        ) from error
    return folder


def _make_environment(folder: Folder) -> None:
    """An environment that shares our packages but not our .pth files; the hook is installed into it alone."""
    if not folder.python.exists():
        venv.EnvBuilder(with_pip=False, symlinks=os.name != "nt").create(folder.environment)
    packages = sysconfig.get_path(
        "purelib", vars={"base": str(folder.environment), "platbase": str(folder.environment)}
    )
    own = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    Path(packages, "shared-packages.pth").write_text("".join(f"{path}\n" for path in sorted(own)), encoding="utf-8")
    install.install(folder.python, folder.spool)
    # No microscope of this computer: `check` of another config need not wonder at it.
    forget(folder.python)


def write_config(folder: Folder, facility: str, broker: tuple[str, int]) -> None:
    """The config of the demo's agent, with comments, for a user to read and reuse."""
    text = files(__package__).joinpath("config.toml.in").read_text(encoding="utf-8")
    values = {
        "site": SITE,
        "instrument": INSTRUMENT,
        "facility": facility,
        "host": broker[0],
        "port": broker[1],
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", json.dumps(value))
    folder.config.write_text(text, encoding="utf-8")
