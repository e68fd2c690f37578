"""The rights that the service account needs, and nobody else: as icacls commands, which Windows carries out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from agent.config import Config
from agent.operate.secrets import secret_files

_USERS, _ADMINISTRATORS, _SYSTEM = "*S-1-5-32-545", "*S-1-5-32-544", "*S-1-5-18"
"""By number: the names differ with the language of Windows."""


def commands(config: Config, config_path: PurePath, spool: PurePath, account: str) -> Iterator[list[str]]:
    """State: ours. Spool: whoever acquires writes there, too. Watched folders: read. Secrets: ours, administrators'."""
    yield [*_grant(config_path), f"{account}:R"]
    yield [*_grant(config.state), f"{account}:(OI)(CI)M"]
    yield [*_grant(spool), f"{account}:(OI)(CI)M", f"{_USERS}:(OI)(CI)M"]
    may = "M" if config.delivery.release.policy != "never" else "RX"
    for watch in config.watch:
        # Rights on a share are given where the share is.
        if not str(watch.path).startswith("\\\\"):
            yield [*_grant(watch.path), f"{account}:(OI)(CI){may}"]
    for secret in secret_files(config):
        alone = ["icacls", str(secret), "/inheritance:r", "/grant:r"]
        yield [*alone, f"{account}:R", f"{_ADMINISTRATORS}:F", f"{_SYSTEM}:F"]


def takings(config: Config, config_path: PurePath, spool: PurePath, account: str) -> Iterator[list[str]]:
    """What `commands` gave to the account, taken back."""
    for command in commands(config, config_path, spool, account):
        yield ["icacls", command[1], "/remove", account]


def _grant(path: PurePath) -> list[str]:
    return ["icacls", str(path), "/grant"]
