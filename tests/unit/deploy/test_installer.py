"""The PowerShell installer and the bundle, as far as they can be tried without Windows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path, PureWindowsPath

import pytest

from agent.errors import Misconfigured
from agent.service.bundle import checkout, incomplete, make_bundle, shipped, shipped_file, tags
from agent.service.plan import hosted
from tests.conftest import ROOT

SCRIPTS = ["install.ps1", "uninstall.ps1"]


def script(name: str) -> str:
    return (ROOT / "deploy" / "windows" / name).read_text(encoding="utf-8")


def tree(text: str):
    powershell = pytest.importorskip("tree_sitter_powershell")
    sitter = pytest.importorskip("tree_sitter")
    return sitter.Parser(sitter.Language(powershell.language())).parse(text.encode()).root_node


def faults(node) -> list[str]:
    found = [f"line {node.start_point[0] + 1}: {node.type}"] if node.is_error or node.is_missing else []
    return found + [fault for child in node.children for fault in faults(child)]


def commands(node) -> set[str]:
    found = {node.text.decode()} if node.type == "command_name" else set()
    return found.union(*(commands(child) for child in node.children))


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_are_valid_powershell(name: str) -> None:
    assert faults(tree(script(name))) == []


def test_a_broken_script_would_be_noticed() -> None:
    assert faults(tree("if ($a { 'x' }")) != []


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_run_on_an_old_windows_and_touch_no_firewall(name: str) -> None:
    text = script(name)
    assert text.isascii(), "Windows PowerShell 5.1 reads a file without BOM in the code page of the machine"
    assert "#Requires -Version 5.1" in text
    assert not re.search(r"\?\?|\?\.|&&|\|\||ForEach-Object -Parallel|-AsHashtable", text), "PowerShell 7 only"
    # What it calls: built-in commands of 5.1, and its own functions. Nothing of the firewall, of drives, of the net.
    known = {
        "Stop-WithMessage", "Invoke-Program", "Test-Administrator", "Find-Python", "Set-StrictMode", "Write-Host",
        "Get-Command", "Get-Content", "Join-Path", "ConvertFrom-Json", "New-Item", "Out-Null", "Copy-Item", "Test-Path",
        "Get-Date", "Remove-Item", "Get-ItemProperty", "Get-ChildItem", "Sort-Object", "Select-Object", "Where-Object",
        "ForEach-Object", "Set-Content", "Restore-Config", "Move-Item", "Restart-Service", "Get-Item", "Split-Path",
        "Set-Location", "Get-FullPath", "Find-InstallDir", "Read-Python",
    }  # fmt: skip
    used = {word for word in commands(tree(text)) if re.fullmatch(r"[A-Z]\w+-\w+", word)}
    assert used <= known, used - known


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_windows_powershell_does_to_arguments(name: str) -> None:
    """5.1 drops double quotes inside of arguments; in strict mode a property of nothing is an error."""
    for line in script(name).splitlines():
        if code := re.search(r"'?-c'?,? '([^']*)'", line):
            assert '"' not in code[1], line
            compile(code[1], name, "exec")
        assert not re.search(r"\(Get-\w+ .*\)\.\w", line), line


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_command_of_ours_that_they_run_exists(name: str) -> None:
    """The arguments in the script are options of the command."""
    text = script(name)
    asked = set(re.findall(r"@\('(service|check)', ?'?([\w-]*)", text))
    assert asked
    for command, sub in asked:
        words = [command, *([sub] if command == "service" else [])]
        done = subprocess.run(
            [sys.executable, "-m", "agent", *words, "--help"],
            cwd=ROOT, env=os.environ | {"COLUMNS": "200"}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        options = set(re.findall(r"--[a-z-]+", text[text.index("@('" + command) :])) - {"--quiet"}
        if command == "service":
            options &= {"--account", "--password-file", "--even-if-not-delivered"}
            assert {option for option in options if option in done.stdout} == options


def test_the_wheel_ships_the_installer() -> None:
    assert shipped_file("install.ps1") == (ROOT / "deploy" / "windows" / "install.ps1").read_bytes()
    assert b"[delivery]" in shipped_file("config.example.toml")


@pytest.mark.parametrize("platform", ["win_amd64", "manylinux_2_28_x86_64"])
def test_everything_beside_the_wheels_is_in_the_wheel_of_ours(platform: str) -> None:
    """A bundle may be made from an installed scope-agent, without a checkout."""
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    packed = {there: here for here, there in built["force-include"].items()}
    for name in shipped(platform):
        assert (ROOT / packed[f"agent/service/shipped/{name}"]).read_bytes() == shipped_file(name)
    assert ("install.ps1" in shipped(platform)) == (platform == "win_amd64")


def test_what_people_type_starts_the_version_that_runs() -> None:
    """Written last: an upgrade that went back leaves the name with the version before."""
    text = (ROOT / "deploy" / "windows" / "install.ps1").read_text(encoding="utf-8")
    assert text.index("'the new version is not installed'") < text.index(
        "$command = Join-Path $InstallDir 'scope-agent.cmd'"
    )
    # A command file cannot hold every name of a folder: it starts what lies beside it.
    assert r"""('@"%~dp0{0}\Scripts\scope-agent.exe" %*' -f (Split-Path -Leaf $environment))""" in text


def test_an_upgrade_with_another_configuration_goes_back_to_the_one_before() -> None:
    """Whatever fails, the version before gets the configuration that it came up with."""
    text = script("install.ps1")
    assert text.index("-Destination $configBefore") < text.index("-Destination $configFile\n    }")
    failures = [text.index("'the installation failed"), text.index("'the new version is not installed'")]
    back = [found.start() for found in re.finditer(r"^ +Restore-Config$", text, re.MULTILINE)]
    assert len(back) == 2
    assert back[0] < failures[0] < back[1] < failures[1]
    # The configuration that is installed already may be named, too.
    assert "if ($given.FullName -ne $configFile)" in text


def test_a_python_of_another_kind_is_told_before_anything_is_installed() -> None:
    text = script("install.ps1")
    assert text.index("sysconfig.get_platform()") < text.index("'-m', 'venv'")
    assert "$about.platform" in text


@pytest.mark.parametrize("name", SCRIPTS)
def test_names_of_folders_are_taken_literally(name: str) -> None:
    """`[` and `]` are allowed in names, and wildcards of `-Path`."""
    for line in script(name).splitlines():
        if re.search(r"(Copy|Remove|Move)-Item|Test-Path|[GS]et-Content|Get-(ChildItem|ItemProperty|Item) ", line):
            assert not re.search(r"\s-Path |Test-Path (?!-LiteralPath)", line), line
            if re.search(r"(?<!function )Get-(Content|ChildItem|ItemProperty|Item) ", line):
                assert "-LiteralPath" in line, line


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_program_that_cannot_be_started_has_failed(name: str) -> None:
    """A virus scanner may have taken it; $LASTEXITCODE is then that of the program before, which was well."""
    text = script(name)
    for run in re.finditer(r"& \$Program @Arguments", text):
        assert "$global:LASTEXITCODE = 1" in text[text.rindex("function", 0, run.start()) : run.start()]
    assert "& $Program @Arguments" in text
    assert not re.search(r"^\s*& (?!\$Program)|= & (?!\$Program)", text, re.MULTILINE), (
        "run it through the functions, which look at the code"
    )


OURS = r"^\d[^-]*-\d{14}$"


@pytest.mark.parametrize("name", SCRIPTS)
def test_in_a_folder_of_somebodys_choice_only_ours_is_removed(name: str) -> None:
    r"""`-InstallDir D:\Programs`, where other programs lie, too."""
    text = script(name)
    assert f"Where-Object {{ $_.Name -match '{OURS}' }}" in text
    assert "Remove-Item -Recurse -Force -LiteralPath $InstallDir" not in text
    assert re.match(OURS, "0.1.0-20261123040000")
    assert re.match(OURS, "0.1.dev3+gabc-20261123040000")
    assert not any(
        re.match(OURS, other) for other in ("micro-manager-2.0", "venv", "1", "2026-11-23", "fiji-20261123040000")
    )


RUNS_FROM = r"""([A-Za-z]:\\[^":]*)\\[^\\":]+\\service_host\.py"""


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize(
    "folder", [r"D:\Tools\scope-agent", r"C:\Program Files\scope-agent", r"E:\Geräte (alt) [2]\a b"]
)
def test_a_folder_of_somebodys_choice_is_found_again(name: str, folder: str) -> None:
    """An upgrade or an uninstallation from the stick, without -InstallDir: by what the service runs."""
    assert f"-match '{RUNS_FROM}'" in script(name)
    place = PureWindowsPath(folder) / "0.2.0-20261123040000" / "service_host.py"
    data = PureWindowsPath(r"C:\ProgramData\scope-agent\config.toml")
    command = hosted(PureWindowsPath(r"C:\Program Files\Python311\python.exe"), place, data)
    found = re.search(RUNS_FROM, command)
    assert found is not None
    assert found[1] == folder


def test_a_program_that_moves_keeps_its_configuration() -> None:
    """-InstallDir at an upgrade, without -DataDir: the state is where the version before has it."""
    text = script("install.ps1")
    assert "$noted = Join-Path $installed 'data-dir.txt'" in text
    assert text.index("$installed = Find-InstallDir") < text.index("Get-FullPath $(if ($InstallDir)")
    assert "Set-Content -Encoding UTF8 -LiteralPath $dataNote -Value $DataDir" in text


def test_settings_of_other_software_do_not_lead_python_astray() -> None:
    text = script("install.ps1")
    assert text.index("$env:PYTHONHOME = $null") < text.index("Find-Python $about")
    assert "'pip', '--isolated', 'install'" in text
    assert "*\\WindowsApps\\*" in text, "a service cannot start the Python of the Store"


def test_what_cannot_be_removed_is_told() -> None:
    text = script("uninstall.ps1")
    assert text.index("Remove-Item") < text.index("$left = ") < text.index("something is in use")


def wheel(folder: Path, name: str, version: str, *needs: str) -> None:
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        lines = [
            "Metadata-Version: 2.1",
            f"Name: {name}",
            f"Version: {version}",
            *(f"Requires-Dist: {n}" for n in needs),
        ]
        archive.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(lines) + "\n\n")


def test_what_a_bundle_lacks_is_found_for_the_other_platform(tmp_path: Path) -> None:
    wheel(
        tmp_path, "a", "1.0", "b>=2", 'w; sys_platform == "win32"', 'l; sys_platform == "linux"', 'x; extra == "more"'
    )
    wheel(tmp_path, "b", "1.0")
    assert incomplete(tmp_path, "a", "3.11", "win_amd64") == ['w; sys_platform == "win32"', "b>=2"]
    wheel(tmp_path, "w", "1")
    (tmp_path / "b-1.0-py3-none-any.whl").unlink()
    wheel(tmp_path, "b", "2.1", 'old; python_version < "3.9"', "a[more]")
    assert incomplete(tmp_path, "a", "3.11", "win_amd64") == ['x; extra == "more"']
    wheel(tmp_path, "x", "1")
    assert incomplete(tmp_path, "a[more]", "3.11", "win_amd64") == []
    assert incomplete(tmp_path, "a", "3.11", "manylinux_2_28_x86_64") == ['l; sys_platform == "linux"']


def test_an_installed_scope_agent_makes_a_bundle_of_the_folder_it_is_asked_in(tmp_path: Path) -> None:
    installed = tmp_path / "site-packages" / "agent"
    assert checkout(ROOT / "agent", tmp_path) == ROOT
    assert checkout(installed, ROOT) == ROOT
    with pytest.raises(Misconfigured, match="in the folder of scope-agent"):
        checkout(installed, tmp_path)


def test_wheels_for_older_systems_are_taken_too() -> None:
    """The pip that comes with Python 3.11 takes the one that is named and no other."""
    assert tags("win_amd64") == ["win_amd64"]
    assert tags("macosx_11_0_arm64") == ["macosx_11_0_arm64"]
    linux = tags("manylinux_2_28_x86_64")
    assert linux[0] == "manylinux_2_28_x86_64"
    assert {"manylinux_2_24_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"} <= set(linux)
    assert {"manylinux_2_29_x86_64", "manylinux_2_34_x86_64"}.isdisjoint(linux)


def test_an_unknown_platform_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="win_amd64"):
        make_bundle(tmp_path / "b", "3.11", "win32", [], None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.timeout(900)
def test_a_bundle_for_windows_is_complete_and_pip_installs_from_it_alone(tmp_path: Path) -> None:
    """Proved twice: by the wheels' own metadata, and by pip, which takes them all without an index."""
    made = tmp_path / "bundle"
    command = [
        sys.executable,
        "-m",
        "agent",
        "bundle",
        "--to",
        str(made),
        "--python",
        "3.11",
        "--platform",
        "win_amd64",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if "No module named pip" in done.stderr or "uv is missing" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    about = json.loads((made / "BUNDLE.json").read_text())
    names = {name.split("-")[0].lower() for name in about["wheels"]}
    assert {"scope_agent", "pywin32", "numpy", "pydantic_core", "watchdog", "obstore", "nd2"} <= names
    tags = ["--platform", "win_amd64", "--python-version", "3.11", "--implementation", "cp", "--only-binary=:all:"]
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-deps", "--require-hashes", *tags]
    pip += [
        "--target",
        str(tmp_path / "site"),
        "--find-links",
        str(made / "wheels"),
        "-r",
        str(made / "requirements.txt"),
    ]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    installed = re.search(r"Would install (.*)", done.stdout)[1].split()
    assert len(installed) == len(about["wheels"])
    for name in ("install.ps1", "uninstall.ps1", "config.example.toml", "requirements.txt"):
        assert (made / name).stat().st_size > 1000
