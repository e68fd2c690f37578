"""The documentation is executed: commands run or are parsed, configurations are loaded, links lead somewhere.

```console   lines with `$ ` are executed, in order, in one folder; what follows is printed (`...`: anything)
```sh        every `scope-agent` line is parsed as the program would parse it
```toml      a configuration: whole, or a part that is put into a minimal one
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from agent.cli.app import app, load_commands
from agent.config import Config
from agent.contract.settings import validate
from agent.facility.settings import Settings as FacilitySettings
from tests.conftest import ROOT

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MINIMAL = {"site": "s", "instrument": "i", "state": "state", "delivery": {"url": "http://127.0.0.1:9"}}
PLAIN = {"sh", "powershell", "ini", "yaml", "toml", "console", ""}


def blocks(page: str, kind: str) -> list[str]:
    return [body for said, body in FENCE.findall((ROOT / page).read_text(encoding="utf-8")) if said == kind]


@cache
def program() -> Any:
    load_commands()
    return typer.main.get_command(app)


def parse(line: str, *, whole: bool = True) -> None:
    """As the program would: the command exists, takes these options and so many arguments. AssertionError if not.

    With `whole` its arguments are there, too.
    """
    words = shlex.split(line, comments=True)[1:]
    command = program()
    while hasattr(command, "commands"):
        assert words, f"{line}: which command?"
        name = words.pop(0)
        assert name in command.commands, f"{line}: there is no {name}"
        command = command.commands[name]
    context = command.context_class(command, info_name=line)
    try:
        values, rest, _ = command.make_parser(context).parse_args(words)
    except Exception as error:  # typer brings its own click, whose errors have no public name
        raise AssertionError(f"{line}: {getattr(error, 'message', error)}") from error
    assert not [word for word in rest if not set(word) <= {"."}], f"{line}: {rest} is too much"
    for parameter in command.params:
        if whole and parameter.param_type_name == "argument" and parameter.required:
            assert values.get(parameter.name), f"{line}: {parameter.name} is missing"


def lines_of(page: str) -> list[str]:
    """Every command in fences and indented blocks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fenced = [line for body in blocks(page, "sh") for line in body.splitlines()]
    indented = [line for line in FENCE.sub("", text).splitlines() if line.startswith("    ")]
    return commands_in([*fenced, *indented])


def named_in(page: str) -> list[str]:
    """Every `scope-agent ...` within a sentence."""
    return commands_in(re.findall(r"`(scope-agent [^`\n]+)`", FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))))


def commands_in(lines: list[str]) -> list[str]:
    parts = [part for line in lines for part in re.split(r"&&|\||>|#", line)]
    matches = [re.match(r"\s*(?:\S*/)?(scope-agent [a-z].*)", part) for part in parts]
    found = [match[1].strip() for match in matches if match]
    return [line for line in found if not re.search(r"[\[\]…]| \.\.\.", line)]


@pytest.mark.parametrize("page", [page for page in PAGES if lines_of(page) or named_in(page)])
def test_every_command_is_one_that_exists(page: str) -> None:
    for line in lines_of(page):
        parse(line)
    for line in named_in(page):
        if page != "docs/CHANGELOG.md":
            parse(line, whole=False)


@pytest.mark.parametrize(
    "line",
    ["scope-agent chek -c x", "scope-agent check --config-file x", "scope-agent verify", "scope-agent run a b"],
)
def test_a_command_that_does_not_exist_is_noticed(line: str) -> None:
    with pytest.raises(AssertionError):
        parse(line)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")])
def test_every_configuration_is_valid(page: str) -> None:
    for body in blocks(page, "toml"):
        tables = tomllib.loads(body)
        if body.startswith("# facility.toml"):
            validate(FacilitySettings, {"data_dir": "x"} | tables, page)
        elif "site" in tables:
            validate(Config, tables, page)
        else:
            delivery = MINIMAL["delivery"] | tables.get("delivery", {})
            validate(Config, MINIMAL | tables | {"delivery": delivery}, page)


def test_every_fence_says_what_it_is() -> None:
    for page in PAGES:
        kinds = {kind for kind, _ in FENCE.findall((ROOT / page).read_text(encoding="utf-8"))}
        assert kinds <= PLAIN - {""}, page


def expected(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("..."))) + r"\s*\Z", re.DOTALL)


def shell(folder: Path) -> dict[str, str]:
    """An environment in which `scope-agent` and `python` are those of the tests."""
    tools = folder / ".tools"
    tools.mkdir()
    for name, words in (("scope-agent", "-m agent"), ("python", "")):
        script = tools / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        script.chmod(0o755)
    return os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


@pytest.mark.skipif(os.name != "posix", reason="the pages say how it is written on Windows")
@pytest.mark.system
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "console")])
def test_what_a_page_shows_is_what_happens(page: str, tmp_path: Path) -> None:
    environment = shell(tmp_path)
    for body in blocks(page, "console"):
        for step in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            command, _, output = step.partition("\n")
            done = subprocess.run(
                ["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}: {done.stderr}"
            assert expected(output.strip()).match(done.stdout.strip()), f"{command}: {done.stdout}"


@pytest.mark.system
def test_the_first_delivery_of_the_page_arrives(tmp_path: Path) -> None:
    """docs/start.md, as a new user follows it: its own configuration, its own commands, to verified."""
    import time

    import numpy as np
    import tifffile

    from tests.conftest import free_port, wait_port

    page = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    environment, port, broker = shell(tmp_path), free_port(), free_port()
    config = blocks("docs/start.md", "toml")[0].replace("8460", str(port)).replace("[mqtt]", f"[mqtt]\nport = {broker}")
    (tmp_path / "config.toml").write_text(config.replace('path = "images"', 'path = "images"\nquiet_s = 1'))
    (tmp_path / "images").mkdir()
    commands = [line for body in blocks("docs/start.md", "sh") for line in body.splitlines()]
    assert {"mkdir images", "scope-agent run -c config.toml", "scope-agent check -c config.toml"} <= set(commands)
    assert "scope-agent facility serve --data facility" in commands

    def run(command: str, *more: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["sh", "-c", f"{command} {' '.join(more)}"], cwd=tmp_path, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    run(re.search(r"\$ (scope-agent facility token create .*)", page)[1])
    started = []
    try:
        serve = [
            "scope-agent",
            "facility",
            "serve",
            "--data",
            "facility",
            "--port",
            str(port),
            "--mqtt-port",
            str(broker),
        ]
        started.append(subprocess.Popen(serve, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL))
        wait_port(port, started[0], 30)
        wait_port(broker, started[0], 30)
        checked = run("scope-agent check -c config.toml")
        assert checked.returncode == 0, checked.stdout
        started.append(
            subprocess.Popen(
                ["scope-agent", "run", "-c", "config.toml"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
            )
        )
        tifffile.imwrite(tmp_path / "images" / "cells.tif", np.zeros((4, 64, 64), np.uint16), photometric="minisblack")
        deadline = time.monotonic() + 60
        while "verified" not in (said := run("scope-agent acquisitions list -c config.toml")).stdout:
            assert time.monotonic() < deadline, said.stdout + said.stderr
            time.sleep(0.5)
        assert "running" in run("scope-agent status -c config.toml --once").stdout
    finally:
        for process in started[::-1]:
            process.terminate()
            process.wait(15)
    assert list((tmp_path / "facility").rglob("manifest-sha256.txt"))


def test_the_pages_build_without_a_broken_link(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    build = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(
        [*build, "-f", str(ROOT / ".ci" / "mkdocs.yml"), "-d", str(tmp_path / "site")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "start.html").exists()


def test_a_broken_link_would_be_noticed(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "mkdocs.yml", tmp_path / ".ci")
    with (tmp_path / "docs" / "start.md").open("a") as page:
        page.write("\n[nowhere](nowhere.md)\n")
    build = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-f",
        str(tmp_path / ".ci" / "mkdocs.yml"),
    ]
    assert subprocess.run(build, capture_output=True, check=False).returncode != 0


def test_the_reference_is_what_the_code_says() -> None:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import generate
    finally:
        sys.path.pop(0)
    for name, page in generate.PAGES.items():
        found = (ROOT / "docs" / "reference" / f"{name}.md").read_text(encoding="utf-8")
        assert found == generate.NOTE + page(), f"run python docs/generate.py: {name} changed"


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in re.findall(r"(?:`|\()((?:docs|tests|agent|benchmarks|deploy)/[\w./-]+[\w/])", text):
        made = ("yours.py",)
        assert (ROOT / name).exists() or name.endswith(made), f"{page}: {name}"


def test_each_guarantee_names_a_test_that_exists() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    promises = re.split(r"^\d+\. ", text, flags=re.MULTILINE)[1:]
    assert len(promises) >= 7
    for promise in promises:
        named = re.findall(r"`((?:tests|agent|benchmarks)/[\w/]+(?:\.py)?/?)(?:::(\w+))?`", promise)
        assert any(file.startswith(("tests/", "agent/testing/")) for file, _ in named), promise
        for file, test in named:
            path = ROOT / file
            assert path.exists(), file
            assert not test or re.search(rf"def {test}\(", path.read_text(encoding="utf-8")), f"{file}::{test}"
            if path.is_dir():
                assert list(path.glob("test_*.py")), file
