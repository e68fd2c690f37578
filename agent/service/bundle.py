"""Everything to install scope-agent on a computer without internet, in one folder.

    wheels/               ours and everything it needs, for one Python and one platform
    requirements.txt      exact versions with their SHA-256, which the installer enforces
    install.ps1 ...       the installer (Windows)
    config.example.toml   every setting
    docs/                 what to do on that computer, and when something fails
    micro-manager/        the tap for Micro-Manager Studio
    BUNDLE.json           what this is

uv resolves for the other platform (pip reads `sys_platform == "win32"` as that of the machine it runs on), pip
downloads, and the folder is proved complete before it is handed out.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import HeaderParser
from importlib.resources import as_file, files
from pathlib import Path

from agent import __version__
from agent.errors import Damaged, Misconfigured, Retryable

_TARGETS = {
    "win_amd64": "x86_64-pc-windows-msvc",
    "manylinux_2_28_x86_64": "x86_64-manylinux_2_28",
    "macosx_11_0_arm64": "aarch64-apple-darwin",
}
_SYSTEMS = {
    "win": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
    "manylinux": {
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "platform_machine": "x86_64",
    },
    "macosx": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
}


_SHIPPED = {
    "config.example.toml": "config.example.toml",
    "docs/instrument.md": "docs/instrument.md",
    "docs/operate.md": "docs/operate.md",
    "docs/recover.md": "docs/recover.md",
    "micro-manager/README.md": "deploy/micro-manager/README.md",
    "micro-manager/scope-agent.bsh": "deploy/micro-manager/scope-agent.bsh",
}
"""Where a file of the folder lies in a checkout; in the wheel it lies below `shipped`, as in the folder."""
_WINDOWS = {
    "install.ps1": "deploy/windows/install.ps1",
    "uninstall.ps1": "deploy/windows/uninstall.ps1",
    "docs/install-windows.md": "docs/install-windows.md",
    "docs/windows-checklist.md": "docs/windows-checklist.md",
}
_POSIX = {"docs/install-linux.md": "docs/install-linux.md"}


def make_bundle(to: Path, python: str, platform: str, extras: list[str], source: Path | None) -> int:
    """Write the folder `to`; the number of its files. Raises Misconfigured, Retryable; Damaged when something lacks."""
    if platform not in _TARGETS:
        raise Misconfigured(f"platform {platform!r} is not known: {', '.join(_TARGETS)}")
    source = source or checkout(Path(__file__).resolve().parents[1], Path.cwd())
    making = to.with_name(f"{to.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    wheels = making / "wheels"
    wheels.mkdir(parents=True)
    ours = _own_wheel(source, wheels)
    wanted = making / "requirements.in"
    wanted.write_text(f"scope-agent[{','.join(extras)}] @ {ours.resolve().as_uri()}\n", encoding="utf-8")
    pins = _resolve(wanted, python, _TARGETS[platform])
    wanted.unlink()
    others = making / "others.txt"
    others.write_text("\n".join(line for line in pins.splitlines() if not line.startswith("scope-agent")) + "\n")
    target = [word for tag in tags(platform) for word in ("--platform", tag)]
    target += ["--python-version", python, "--implementation", "cp"]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--no-deps", "--only-binary=:all:", *target, "-r", str(others), "-d", str(wheels)])
    others.unlink()
    missing = incomplete(wheels, f"scope-agent[{','.join(extras)}]", python, platform)
    if missing:
        raise Damaged(f"the bundle would lack {', '.join(missing)}: report this")
    _beside(making, python, platform, extras)
    making.replace(to)
    return sum(1 for path in to.rglob("*") if path.is_file())


def tags(platform: str) -> list[str]:
    """The tags of wheels that run there: those for an older glibc, too, which pip does not know by itself."""
    found = re.fullmatch(r"manylinux_2_(\d+)_(\w+)", platform)
    if found is None:
        return [platform]
    minor, machine = int(found[1]), found[2]
    return [*(f"manylinux_2_{older}_{machine}" for older in range(minor, 4, -1)), f"manylinux2014_{machine}"]


def incomplete(wheels: Path, root: str, python: str, platform: str) -> list[str]:
    """Requirements that no wheel of the folder meets, by their own metadata and the markers of the target."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    system = next(found for start, found in _SYSTEMS.items() if platform.startswith(start))
    version = {"python_version": python, "python_full_version": f"{python}.0", "implementation_name": "cpython"}
    environment = {**system, **version, "platform_python_implementation": "CPython"}
    present = {canonicalize_name(said["Name"]): said for said in map(_metadata, sorted(wheels.glob("*.whl")))}
    missing: list[str] = []
    todo, done = [Requirement(root)], set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        said = present.get(name)
        if said is None or not requirement.specifier.contains(said["Version"], prereleases=True):
            missing.append(str(requirement))
            continue
        for extra in ("", *requirement.extras):
            if (name, extra) in done:
                continue
            done.add((name, extra))
            needed = map(Requirement, said.get_all("Requires-Dist", []))
            todo += [
                one for one in needed if one.marker is None or one.marker.evaluate({**environment, "extra": extra})
            ]
    return list(dict.fromkeys(missing))


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(archive.read(name).decode())


def checkout(package: Path, here: Path) -> Path:
    """Where our sources are: around the package, or where the command is typed once it was installed from there."""
    for folder in (package.parent, here):
        if (folder / "pyproject.toml").is_file() and (folder / "agent" / "service" / "bundle.py").is_file():
            return folder
    raise Misconfigured("which scope-agent? Do it in the folder of scope-agent, or name that or a wheel with --source")


def _own_wheel(source: Path, wheels: Path) -> Path:
    if source.suffix == ".whl":
        return Path(shutil.copy2(source, wheels))
    _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(wheels), str(source)])
    return next(wheels.glob("scope_agent-*.whl"))


def _resolve(wanted: Path, python: str, target: str) -> str:
    from importlib.util import find_spec

    if find_spec("uv") is None or find_spec("packaging") is None:
        raise Misconfigured("uv is missing: pip install 'scope-agent[bundle]' on the machine that makes the bundle")
    uv = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    binary = ["--only-binary", ":all:", "--python-platform", target, "--python-version", python]
    return _run([*uv, *binary, str(wanted)])


def _beside(folder: Path, python: str, platform: str, extras: list[str]) -> None:
    """Requirements with hashes of what lies here, installer, example, and what this is."""
    lines, sums = [], {}
    for wheel in sorted((folder / "wheels").glob("*.whl")):
        said, digest = _metadata(wheel), hashlib.sha256(wheel.read_bytes()).hexdigest()
        more = f"[{','.join(extras)}]" if said["Name"] == "scope-agent" else ""
        lines.append(f"{said['Name']}{more}=={said['Version']} --hash=sha256:{digest}")
        sums[wheel.name] = digest
    (folder / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    about = {"scope_agent": __version__, "python": python, "platform": platform, "extras": extras, "wheels": sums}
    (folder / "BUNDLE.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    for name in shipped(platform):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(shipped_file(name))


def shipped(platform: str) -> list[str]:
    """The files beside the wheels, by their path in the folder."""
    return [*_SHIPPED, *(_WINDOWS if platform.startswith("win") else _POSIX)]


def shipped_file(name: str) -> bytes:
    """One of them, out of the wheel or the checkout."""
    packaged = files("agent.service").joinpath("shipped", name)
    if packaged.is_file():
        return packaged.read_bytes()
    with as_file(files("agent")) as package:
        return (package.parent / (_SHIPPED | _WINDOWS | _POSIX)[name]).read_bytes()


def _run(command: list[str]) -> str:
    """Standard output. Raises Retryable with the last line of what it said."""
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        told = [line for line in said if "error" in line.lower()] or said or ["failed"]
        raise Retryable(f"{command[2]}: {told[-1]}")
    return done.stdout
