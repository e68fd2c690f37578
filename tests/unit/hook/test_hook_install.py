from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import agent
import agent.hook
from agent.hook.errors import HookError
from agent.hook.install import install, status, uninstall


def _everything(python: Path) -> set[str]:
    site = next(python.parent.parent.rglob("site-packages"))
    return {str(path.relative_to(site)) for path in site.rglob("*")}


def _where(python: Path, module: str) -> str:
    code = f"import {module}; print({module}.default_spool(), {module}.__version__)"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_the_hook_has_the_version_of_the_agent():
    assert agent.hook.__version__ == agent.__version__


def test_installed_used_and_removed_without_a_trace(lab_python, tmp_path):
    before = _everything(lab_python)
    assert status(lab_python) is None
    found = install(lab_python, tmp_path / "spool")
    assert found == status(lab_python)
    assert (found.version, found.spool, found.last_write_ns) == (agent.__version__, tmp_path / "spool", None)
    assert _where(lab_python, "scope_agent_hook") == f"{tmp_path / 'spool'} {agent.__version__}"

    install(lab_python)  # again, with the platform's folder
    assert status(lab_python).spool == agent.hook.default_spool()

    assert uninstall(lab_python).where == found.where
    assert _everything(lab_python) == before
    assert uninstall(lab_python) is None


def test_the_last_write_is_the_newest_journals(lab_python, tmp_path):
    install(lab_python, tmp_path)
    journal = tmp_path / "1-2-3.jsonl"
    journal.touch()
    assert status(lab_python).last_write_ns == journal.stat().st_mtime_ns
    uninstall(lab_python)


def test_the_environment_variable_wins(monkeypatch, tmp_path):
    monkeypatch.setenv("SCOPE_AGENT_SPOOL", str(tmp_path))
    assert agent.hook.default_spool() == tmp_path


def test_a_python_without_the_requirements_is_told_what_to_run(make_venv):
    python = make_venv(packages=False)
    with pytest.raises(HookError, match=r"lacks pymmcore-plus msgspec: run .* -m pip install"):
        install(python)
    assert status(python) is None


@pytest.mark.parametrize("python", ["no-such-python", __file__])
def test_what_is_no_python_is_said_to_be_none(python):
    with pytest.raises(HookError, match="name the python of the environment"):
        install(Path(python))


def test_a_folder_that_cannot_be_written_leaves_nothing_behind(lab_python, monkeypatch, tmp_path):
    before = _everything(lab_python)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("agent.hook.install.shutil.copyfile", refuse)
    with pytest.raises(HookError, match="cannot write to"):
        install(lab_python, tmp_path)
    assert _everything(lab_python) == before


def test_boot_imports_nothing_that_python_has_not_loaded_anyway():
    code = (
        "import sys, agent; before = set(sys.modules); import agent.hook.boot as b; b.register();"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "['agent.hook', 'agent.hook.boot']"
