"""Writes the pages of docs/reference from the code: `python docs/generate.py`. A test compares them."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
NOTE = "<!-- Written by docs/generate.py: change the code, then run it. -->\n\n"


def settings() -> str:
    """Every setting, out of config.example.toml, which a test compares with the code."""
    lines = ["# Settings", ""]
    lines += ["All of them, as `config.example.toml` has them. A value in brackets is the default.", ""]
    above: list[str] = []
    for line in (HERE.parent / "config.example.toml").read_text(encoding="utf-8").splitlines():
        if table := re.match(r"(\[+[\w.]+\]+)$", line):
            lines += ["", f"## `{table[1]}`", "", *above, "", "| setting | meaning |", "| --- | --- |"]
            above = []
        elif setting := re.match(r"(#?)(\w+) = (.*)$", line):
            if not any(row.startswith("## ") for row in lines) and "| setting | meaning |" not in lines:
                lines += ["## At the top", "", "| setting | meaning |", "| --- | --- |"]
            value = f"[`{setting[3]}`]" if setting[1] else f"such as `{setting[3]}`"
            lines.append(f"| `{setting[2]}` {value} | {' '.join(above).replace('|', chr(92) + '|')} |")
            above = []
        elif line.startswith("# "):
            above.append(line[2:])
        else:
            above = []
    return "\n".join(lines) + "\n"


def commands() -> str:
    """Every command with its arguments and options."""
    import typer

    from agent.cli.app import app, load_commands

    load_commands()
    codes = (
        "0 done, 1 failed, 2 a setting or argument is wrong, 65 rejected, 70 a bug of ours, 73 somebody else owns it, "
        "75 try again later"
    )
    lines = ["# Commands", "", f"Exit codes: {codes}.", ""]
    for name, command in walk("scope-agent", typer.main.get_command(app)):
        lines += [f"## `{name}`", "", " ".join((command.help or "").split()), ""]
        rows = [row(parameter) for parameter in command.params if parameter.name != "help"]
        if rows:
            lines += ["| | |", "| --- | --- |", *rows, ""]
    return "\n".join(lines)


def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its full name."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for inner, one in sorted(command.commands.items()):
        yield from walk(f"{name} {inner}", one)


def row(parameter: Any) -> str:
    told = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
    if parameter.param_type_name == "argument":
        return f"| `{parameter.name.upper()}{'...' if parameter.nargs == -1 else ''}` | {told} |"
    default = parameter.default
    shown = f" [`{default}`]" if isinstance(default, str | int | float | Path) and not isinstance(default, bool) else ""
    return f"| `{', '.join(parameter.opts)}`{shown} | {told} |"


def topics() -> str:
    """Every topic, out of the AsyncAPI document."""
    document = json.loads((HERE / "asyncapi.json").read_text(encoding="utf-8"))
    lines = ["# Topics", "", "`docs/asyncapi.json` is the whole description, with the type of every payload.", ""]
    lines += ["| topic | what it tells |", "| --- | --- |"]
    for channel in document["channels"].values():
        names = [ref["$ref"].rsplit("/", 1)[-1] for ref in channel.get("messages", {}).values()]
        sentences = "; ".join(document["components"]["messages"][name].get("summary", name) for name in names)
        lines.append(f"| `{channel['address']}` | {sentences} |")
    return "\n".join(lines) + "\n"


def record() -> str:
    """The fields of acquisition.json, out of its JSON Schema."""
    from agent.contract.record import Record

    schema = Record.model_json_schema()
    lines = ["# The record", ""]
    lines += ["`acquisition.json`, version 1. `scope-agent schema record` prints its JSON Schema.", ""]
    lines += fields("Record", schema)
    for name, part in sorted(schema["$defs"].items()):
        if "properties" in part:
            lines += ["", f"## {name}", "", " ".join(part.get("description", "").split()), "", *fields(name, part)]
    return "\n".join(lines) + "\n"


def fields(name: str, part: dict[str, Any]) -> list[str]:
    sentences = told().get(name, {})
    rows = ["| field | type | |", "| --- | --- | --- |"]
    for field, said in part["properties"].items():
        rows.append(f"| `{field}` | {kind(said)} | {sentences.get(field, '').replace('|', chr(92) + '|')} |")
    return rows


def told() -> dict[str, dict[str, str]]:
    """The sentence below each field in agent/contract/record.py, by class and field."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse((HERE.parent / "agent" / "contract" / "record.py").read_text(encoding="utf-8")).body:
        for field, after in pairwise(node.body) if isinstance(node, ast.ClassDef) else ():
            if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(field.target, ast.Name):
                sentence = " ".join(str(ast.literal_eval(after.value)).split())
                found.setdefault(node.name, {})[field.target.id] = sentence
    return found


def kind(said: dict[str, Any]) -> str:
    if "$ref" in said:
        name = said["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in said:
        return " or ".join(dict.fromkeys(kind(one) for one in said["anyOf"]))
    if "enum" in said or "const" in said:
        return ", ".join(f"`{value}`" for value in said.get("enum", [said.get("const")]))
    if said.get("type") == "array":
        return f"list of {kind(said.get('items', {}))}"
    if isinstance(said.get("additionalProperties"), dict):
        return f"{kind(said['additionalProperties'])} by name"
    return str(said.get("type", "any"))


PAGES = {"settings": settings, "commands": commands, "topics": topics, "record": record}


def main() -> None:
    for name, page in PAGES.items():
        (HERE / "reference" / f"{name}.md").write_text(NOTE + page(), encoding="utf-8")


if __name__ == "__main__":
    main()
