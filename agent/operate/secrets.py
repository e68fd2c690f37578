"""Takes secrets out of text that leaves the machine: those we know, and whatever looks like one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

from agent.config import Config
from agent.contract.settings import read_small
from agent.errors import Misconfigured

GONE = "[removed]"
_SHORT = 4
"""Shorter known values would blank out ordinary text; where a name says what they are, they go all the same."""
_WORDS = "password|passwd|passphrase|passwort|kennwort|pwd|secret|token|credential|api[_-]?key|access[_-]?key|auth"
_NAMES = rf"[\w.-]*(?:{_WORDS})[\w.-]*"
_FOLDERS = frozenset({"PWD", "OLDPWD"})
"""Variables of a shell: the folder that somebody is in."""
_HARMLESS = re.compile(r"(?i)(?:_file|_env|_url|_path)$|^(?:author|authors|authority)$")
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), GONE),
    # user:password@ in an address; a lone user name as well, for a token may stand in its place.
    (re.compile(r"(?<=://)[^/\s\"'<>\[\]]+@"), f"{GONE}@"),
    (re.compile(r"(?i)\b(bearer|basic|digest)\s+[A-Za-z0-9+/=._~-]{6,}"), rf"\1 {GONE}"),
    (re.compile(r"(?i)(x-amz-(?:signature|credential|security-token)=)[^&\s\"']+"), rf"\1{GONE}"),
    (re.compile(r"(?i)\b((?:set-)?cookie\s*:\s*)[^\"\n]+"), rf"\1{GONE}"),
    # As people and command lines say it; a word without a digit is more likely an explanation.
    (re.compile(rf"(?i)\b({_WORDS})(\s+(?:is|was|ist|war)\s+)(?=\S*\d)[^\s,;\"']+"), rf"\1\2{GONE}"),
    (re.compile(rf"(?i)(--[\w-]*(?:{_WORDS})\s+)[^\s,;\"'-][^\s,;\"']*"), rf"\1{GONE}"),
    # Our own tokens, also those of others and of before.
    (re.compile(r"\bscope_[\w-]{20,}"), GONE),
    # JSON web tokens, and the keys of well-known services.
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), GONE),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), GONE),
)
_NAMED = re.compile(
    rf"(?i)(?P<name>{_NAMES})(?P<is>\\?[\"']?\s*[=:]\s*)(?P<value>\\?\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&\"'}}\]]+)"
)


class Redactor:
    """`clean(text)` is the text without secrets. Applied to everything that goes into a report."""

    def __init__(self, known: set[str]) -> None:
        # The longest first: one secret may be part of another.
        told = {form for value in known if len(value) >= _SHORT for form in _forms(value)}
        self._known = sorted(told, key=len, reverse=True)

    def clean(self, text: str) -> str:
        for value in self._known:
            text = text.replace(value, GONE)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return _NAMED.sub(_without_value, text)


def _forms(value: str) -> set[str]:
    """A value as it stands in text, in addresses and in JSON."""
    return {value, quote(value), quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1]}


def _without_value(found: re.Match[str]) -> str:
    name, said = found["name"], found["value"]
    if _HARMLESS.search(name) or GONE in said:
        return found[0]
    quote = next((mark for mark in ('\\"', '"', "'") if said.startswith(mark)), "")
    return f"{name}{found['is']}{quote}{GONE}{quote}"


def known_secrets(config: Config, environment: Mapping[str, str]) -> set[str]:
    """The values of every secret that the settings lead to."""
    found: set[str] = set()
    for path in secret_files(config):
        try:
            lines = _lines(path)
        except OSError:
            continue
        for line in lines:
            found |= {line.strip(), line.partition("=")[2].strip()}
    names = {config.delivery.token_env} | ({config.mqtt.password_env} if config.mqtt else set())
    names |= {name for name in environment if re.fullmatch(_NAMES, name, re.IGNORECASE)} - _FOLDERS
    found |= {environment.get(name, "") for name in names}
    return found - {""}


def _lines(path: Path) -> list[str]:
    try:
        return read_small(path).splitlines()
    except Misconfigured:
        # Not ours to read, such as a configuration of rclone in the letters of another country.
        return path.read_text(encoding="utf-8", errors="replace").splitlines()


def secret_files(config: Config) -> Iterator[Path]:
    """Every file that holds a secret, as the settings name them."""
    delivery, mqtt = config.delivery, config.mqtt
    for path in (
        delivery.token_file,
        delivery.s3.credentials_file if delivery.s3 else None,
        delivery.rclone.config_file if delivery.rclone else None,
        mqtt.password_file if mqtt else None,
        mqtt.key_file if mqtt else None,
    ):
        if path is not None:
            yield path
