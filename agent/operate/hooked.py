"""Is the hook where acquisitions are made, is it ours, and does it write where we read?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agent.clock import utc
from agent.config import Config
from agent.hook import __version__, default_spool
from agent.hook.install import Installed, environments
from agent.operate.finding import Finding


def check(config: Config, found: list[Installed] | None = None) -> Iterator[Finding]:
    """One line an environment that has the hook."""
    spool = config.hook.spool or default_spool()
    there = environments() if found is None else found
    ours = [one for one in there if one.spool.absolute() == spool.absolute()]
    for one in ours:
        yield _one(one, spool)
    if there and not ours:
        # Demos and other agents of this computer have their own; one line says enough.
        named = ", ".join(f"{one.python} (to {one.spool})" for one in there[:3])
        text = f"nobody writes to {spool}, which the agent reads, but {named}: {_again(there[0], spool)}"
        yield Finding("warn", "hook", text)
    elif not there and not config.watch:
        yield Finding(
            "warn",
            "hook",
            "no environment has the hook and no folder is watched, so nothing is heard: 'scope-agent hook install "
            "--python EXE', or a [[watch]] table",
        )
    elif not there:
        yield Finding("ok", "hook", "in no environment that this account knows of; watched folders are heard")


def _one(one: Installed, spool: Path) -> Finding:
    if one.version != __version__:
        text = f"{one.python} has hook {one.version}, this is {__version__}: {_again(one, spool)}"
        return Finding("warn", "hook", text)
    last = f"last wrote at {utc(one.last_write_ns):%Y-%m-%d %H:%M} UTC" if one.last_write_ns else "has not written yet"
    return Finding("ok", "hook", f"{one.python} has hook {one.version}, {last}")


def _again(one: Installed, spool: Path) -> str:
    return f"'scope-agent hook install --python {one.python} --spool {spool}'"
