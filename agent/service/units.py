"""systemd unit and launchd property list. `deploy/` holds them as they come out of here."""

from __future__ import annotations

import plistlib
import shlex
from importlib.resources import files
from pathlib import Path, PurePosixPath

UNIT = Path("/etc/systemd/system/scope-agent.service")
PLIST = Path("/Library/LaunchDaemons/org.scope-agent.plist")
LABEL = "org.scope-agent"
USER = "scope-agent"
LAUNCHD_USER = "_scopeagent"


def systemd(program: PurePosixPath, config: PurePosixPath, state: PurePosixPath) -> str:
    """The unit for a program, a config and a state folder. ValueError for paths that systemd would read otherwise."""
    for path in (program, config, state):
        if shlex.quote(str(path)) != str(path) or "%" in str(path) or not path.is_absolute():
            raise ValueError(f"{path}: a service needs an absolute path of plain letters")
    text = files("agent.service").joinpath("scope-agent.service.in").read_text(encoding="utf-8")
    return text.format(program=program, config=config, state=state)


def launchd(program: PurePosixPath, config: PurePosixPath, log: PurePosixPath) -> bytes:
    """The property list for launchd."""
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": [str(program), "run", "-c", str(config)],
            "UserName": LAUNCHD_USER,
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 10,
            "ProcessType": "Background",
            "LowPriorityIO": True,
            "Nice": 10,
            "Umask": 0o027,
            "ExitTimeOut": 10,
            "StandardErrorPath": str(log),
        }
    )
