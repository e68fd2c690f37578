"""Bio-Formats as a reader of last resort: a process of its own with a time limit and a memory limit.

It reads headers only and writes nothing. Whatever it does wrong becomes a line in the metadata.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import IO

from agent.formats import ome_model, ome_xml
from agent.formats.ome_xml import UnreadableError
from agent.formats.port import Metadata
from agent.formats.settings import FormatSettings

_TOOL = ("loci.formats.tools.ImageInfo", "-nopix", "-novalid", "-no-upgrade", "-omexml-only")
_MAX_TEXT = 64 << 20
_TAIL = 16_384


class _FailedError(Exception):
    """One line why there is nothing."""


class BioFormats:
    """Asks the package that `settings` names; it must name one."""

    def __init__(self, settings: FormatSettings) -> None:
        self._settings = settings

    def metadata(self, path: Path) -> Metadata:
        """What it says about a file. Never raises."""
        try:
            text = self._ask(path)
            root, planes = ome_xml.document([text])
            ome, left_out = ome_model.to_ome(root)
        except (_FailedError, UnreadableError) as error:
            return Metadata(errors=(f"{path.name}: Bio-Formats: {error}",))
        if not ome.images:
            return Metadata(errors=(f"{path.name}: Bio-Formats: it names no image",))
        notes = ["read by Bio-Formats: the agent has no reader of its own for this format", *left_out]
        if planes > ome_xml.MAX_PLANES:
            notes.append(f"{planes} plane entries are too many to be repeated here")
        return Metadata(ome, {"Bio-Formats": self._version()}, notes=tuple(notes))

    def _version(self) -> str:
        """As the package says it; empty where it does not."""
        try:
            with zipfile.ZipFile(self._settings.bioformats or "") as package:
                lines = package.read("META-INF/MANIFEST.MF").decode("utf-8", "replace").splitlines()
        except (OSError, KeyError, zipfile.BadZipFile):
            return ""
        key = "Implementation-Version:"
        return next((line.removeprefix(key).strip() for line in lines if line.startswith(key)), "")

    def _ask(self, path: Path) -> bytes:
        """The OME-XML. Raises _FailedError."""
        jar = self._settings.bioformats
        if jar is None or not jar.is_file():
            raise _FailedError(f"{jar} is not there: name its package in formats.bioformats")
        # One thread collects garbage: the machine belongs to the acquisition.
        limits = (f"-Xmx{self._settings.bioformats_mib}m", "-XX:+UseSerialGC", "-Djava.awt.headless=true")
        command = [self._settings.java, *limits, "-cp", str(jar), *_TOOL, str(path)]
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
            except OSError as error:
                raise _FailedError(
                    f"{self._settings.java} does not start ({error.strerror}): set formats.java"
                ) from None
            text = self._read(process)
            if process.returncode != 0:
                raise _FailedError(self._why(said))
        start = text.find(b"<?xml")
        if start < 0:
            raise _FailedError("it says nothing")
        return text[start:].rstrip()

    def _read(self, process: subprocess.Popen[bytes]) -> bytes:
        """Its output, when it ends in time and is no flood. The process is gone afterwards."""
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        watch = threading.Timer(self._settings.bioformats_s, stop)
        watch.daemon = True
        watch.start()
        try:
            _humble(process.pid)
            text = process.stdout.read(_MAX_TEXT + 1) if process.stdout is not None else b""
            if len(text) > _MAX_TEXT:
                process.kill()
            process.wait()
        finally:
            watch.cancel()
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if late.is_set():
            raise _FailedError(f"it took more than {self._settings.bioformats_s:g} s: raise formats.bioformats_s")
        if len(text) > _MAX_TEXT:
            raise _FailedError(f"it says more than {_MAX_TEXT >> 20} MiB")
        return text

    def _why(self, said: IO[bytes]) -> str:
        """The reason in one line, from the end of what it complained about."""
        said.seek(max(said.seek(0, 2) - _TAIL, 0))
        lines = said.read().decode("utf-8", "replace").splitlines()
        reason = next((line.strip() for line in lines if "Exception" in line or "Error" in line), "")
        if "OutOfMemoryError" in reason:
            return f"it needs more than {self._settings.bioformats_mib} MiB: raise formats.bioformats_mib"
        if "UnknownFormatException" in reason:
            return "it does not know the format either"
        if "UnsupportedClassVersionError" in reason:
            return "this Java is too old for it: set formats.java to Java 11 or newer"
        return (reason.partition('" ')[2] or reason or "it failed without a word")[:300]


def _humble(pid: int) -> None:
    """Whatever else runs on the machine goes first."""
    import psutil

    try:
        process = psutil.Process(pid)
        if sys.platform == "win32":
            process.nice(psutil.IDLE_PRIORITY_CLASS)
        else:
            process.nice(19)
    except psutil.Error:
        # It has ended already, or the system does not let us: it runs as any other process.
        return
