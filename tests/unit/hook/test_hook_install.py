from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import agent
import agent.hook
from agent.hook.errors import HookError
from agent.hook.install import environments, install, status, uninstall


@pytest.fixture(autouse=True)
def own_list(tmp_path_factory, monkeypatch):
    """The list of environments is this test's alone."""
    folder = tmp_path_factory.mktemp("platform")
    monkeypatch.setattr("agent.hook.known.of_platform", lambda: folder / "spool")


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


def test_the_last_write_is_that_of_this_environment(lab_python, tmp_path):
    install(lab_python, tmp_path)
    code = "from scope_agent_hook.wiring import _journal, default_spool; _journal(default_spool()).put('a', {})"
    subprocess.run([lab_python, "-c", code], check=True)
    (journal,) = tmp_path.glob("*.jsonl")
    # Another environment's, newer.
    (tmp_path / "9-2-3.jsonl").write_text('{"n":0,"t":1,"k":"journal","d":{"prefix":"/elsewhere"}}\n')
    (tmp_path / "8-2-3.jsonl").write_text("not a journal\n")
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


WAITING = "any(hasattr(finder, 'waits_for') for finder in sys.meta_path)"


def _said(python, code: str) -> str:
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.strip()


def test_a_folder_that_cannot_be_written_leaves_nothing_behind(lab_python, monkeypatch, tmp_path):
    before = _everything(lab_python)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("agent.hook.install.shutil.copyfile", refuse)
    with pytest.raises(HookError, match="cannot write to"):
        install(lab_python, tmp_path)
    assert _everything(lab_python) == before


def test_a_python_start_loads_nothing_of_the_hook(lab_python):
    """Only a line of the .pth file runs: not even a module of ours is looked for."""
    install(lab_python)
    loaded = "[name for name in sys.modules if 'scope_agent' in name]"
    assert _said(lab_python, f"import sys; print({loaded}, {WAITING})") == "[] True"
    wired = "'scope_agent_hook.wiring' in sys.modules"
    assert _said(lab_python, f"import sys, pymmcore_plus; print({wired}, {WAITING})") == "True False"
    uninstall(lab_python)


def test_a_python_that_was_upgraded_in_place_is_hooked_all_the_same(lab_python):
    """Its site-packages hold a line compiled for another one (on Windows the folder does not name the version)."""
    found = install(lab_python)
    line = found.where.with_suffix(".pth")
    line.write_text(line.read_text("utf-8").replace(sys.implementation.cache_tag, "cpython-399"), "utf-8")
    assert _said(lab_python, f"import sys; print({WAITING})") == "True"
    wired = "'scope_agent_hook.wiring' in sys.modules"
    assert _said(lab_python, f"import sys, pymmcore_plus; print({wired}, {WAITING})") == "True False"
    uninstall(lab_python)


def test_a_hook_removed_under_a_running_process_does_not_keep_it_from_importing(lab_python):
    found = install(lab_python)
    code = """
import sys
sys.stdin.readline()
import pymmcore_plus
print("imported")
"""
    pipe = subprocess.PIPE
    with subprocess.Popen([lab_python, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        uninstall(lab_python)
        assert not found.where.exists()
        out, err = process.communicate("go\n", timeout=60)
    assert out.strip() == "imported"
    assert "scope-agent hook is not active" in err


def test_every_environment_that_has_it_is_listed(lab_python, make_venv):
    other = make_venv()
    assert environments() == []
    install(lab_python)
    install(other)
    assert [one.python for one in environments()] == [lab_python, other]
    uninstall(lab_python)
    assert [one.python for one in environments()] == [other]
    uninstall(other)
    assert environments() == []
