"""Bio-Formats as the reader of last resort: what it says, and every way in which it may fail.

SCOPE_AGENT_BIOFORMATS_JAR names its package; without it only the failures are tested.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from ome_types import validate_xml

from agent.formats import configure
from agent.formats.bioformats import BioFormats
from agent.formats.inspection import inspect
from agent.formats.settings import FormatSettings
from tests.conftest import ROOT

JAR = os.environ.get("SCOPE_AGENT_BIOFORMATS_JAR", "")
real = pytest.mark.skipif(
    not JAR or not shutil.which("java"), reason="SCOPE_AGENT_BIOFORMATS_JAR is not set, or no java"
)
posix = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins for Java are shell scripts")


@pytest.fixture
def pgm(tmp_path):
    """An image of 3 x 2 of a format that no module here reads."""
    path = tmp_path / "gray map.pgm"
    path.write_bytes(b"P5\n3 2\n255\n\0\1\2\3\4\5")
    return path


@pytest.fixture
def configured():
    yield lambda **settings: configure(FormatSettings(bioformats=Path(JAR), **settings))
    configure(FormatSettings())


@real
def test_it_serves_what_nobody_else_reads(pgm, configured):
    assert inspect(pgm).metadata.ome is None
    configured()
    found = inspect(pgm)
    assert (found.format, found.metadata.errors) == ("unknown", ())
    pixels = found.metadata.ome.images[0].pixels
    assert (pixels.size_x, pixels.size_y, pixels.type.value) == (3, 2, "uint8")
    assert found.metadata.software["Bio-Formats"].startswith("7.")
    validate_xml(found.to_ome_xml())


@real
def test_what_it_does_not_know_is_one_line(tmp_path, configured):
    (tmp_path / "a.xyz").write_bytes(b"no image at all")
    (tmp_path / "empty.pgm").touch()
    configured()
    assert inspect(tmp_path / "a.xyz").metadata.errors == ("a.xyz: Bio-Formats: it does not know the format either",)
    assert inspect(tmp_path / "empty.pgm").metadata.errors == ()


@real
def test_what_others_read_never_starts_it(corpus, configured):
    configured(java="/nowhere/java")
    assert inspect(corpus / "nd2/cluster.nd2").metadata.errors == ()


@real
def test_its_memory_is_limited(corpus):
    little = FormatSettings(bioformats=Path(JAR)).model_copy(update={"bioformats_mib": 8, "bioformats_s": 40})
    (error,) = BioFormats(little).metadata(corpus / "nd2/cluster.nd2").errors
    # A heap that is nearly full keeps a busy machine collecting garbage until the time is over.
    assert error in (
        "cluster.nd2: Bio-Formats: it needs more than 8 MiB: raise formats.bioformats_mib",
        "cluster.nd2: Bio-Formats: it took more than 40 s: raise formats.bioformats_s",
    )


def stand_in(tmp_path, script):
    path = tmp_path / "java"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    jar = tmp_path / "package.jar"
    jar.touch()
    return FormatSettings(bioformats=jar, java=str(path), bioformats_s=1)


FAILURES = {
    "slow": ("exec sleep 30", "it took more than 1 s: raise formats.bioformats_s"),
    "endless": ("exec yes", "it says more than 64 MiB"),
    "silent": ("exit 0", "it says nothing"),
    "wordless": ("exit 3", "it failed without a word"),
    "no memory": ("echo 'x java.lang.OutOfMemoryError: Java heap space' >&2; exit 1", "it needs more than 512 MiB"),
    "broken": (
        "echo 'Exception in thread \"main\" java.io.IOException: no such plane' >&2; exit 1",
        "java.io.IOException: no such plane",
    ),
    "cut": ("echo '<?xml version=\"1.0\"?><OME><Image'", "the OME-XML is cut off or damaged"),
    "hostile": ('echo \'<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY a "b">]><OME/>\'', "declares entities"),
    "no image": (
        'echo \'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"/>\'',
        "it names no image",
    ),
}


@posix
@pytest.mark.parametrize("how", FAILURES)
def test_a_failure_is_one_line_and_leaves_no_process(pgm, tmp_path, how):
    script, says = FAILURES[how]
    began = time.monotonic()
    said = BioFormats(stand_in(tmp_path, script)).metadata(pgm)
    assert time.monotonic() - began < 10
    (error,) = said.errors
    assert error.startswith("gray map.pgm: Bio-Formats: ")
    assert says in error
    assert said.ome is None
    assert psutil.Process().children(recursive=True) == []


def test_what_is_not_installed_is_named(pgm, tmp_path):
    missing = FormatSettings(bioformats=tmp_path / "no.jar")
    assert "no.jar is not there" in BioFormats(missing).metadata(pgm).errors[0]
    (tmp_path / "a.jar").touch()
    no_java = FormatSettings(bioformats=tmp_path / "a.jar", java=str(tmp_path / "no-java"))
    assert "no-java does not start" in BioFormats(no_java).metadata(pgm).errors[0]


@real
def test_inspect_asks_it_when_its_config_says_so(pgm, tmp_path):
    config = tmp_path / "config.toml"
    delivery = '[delivery]\nurl = "http://127.0.0.1:1"\n'
    config.write_text(f"site = 'a'\ninstrument = 'b'\nstate = 's'\n{delivery}[formats]\nbioformats = '{JAR}'\n")
    command = [sys.executable, "-m", "agent", "inspect", str(pgm), "--format", "json"]
    said = subprocess.run([*command, "-c", str(config)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 4, said.stderr
    assert json.loads(said.stdout)["ome"]["images"][0]["pixels"]["size_x"] == 3
    alone = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (alone.returncode, json.loads(alone.stdout)["ome"]) == (4, None)
