"""An environment of its own, as a lab has it: the acquisition software is there, scope-agent is not."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def make_venv(tmp_path_factory):
    """Makes a venv; `packages` has it see this interpreter's site-packages."""

    def make(*, packages: bool = True) -> Path:
        folder = tmp_path_factory.mktemp("lab") / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        if packages:
            found = subprocess.run(
                [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
                check=True,
                capture_output=True,
                text=True,
            )
            ours = sysconfig.get_path("purelib")
            Path(found.stdout.strip(), "lab.pth").write_text(f"{ours}\n", encoding="utf-8")
        return python

    return make


@pytest.fixture(scope="session")
def lab_python(make_venv) -> Path:
    return make_venv()
