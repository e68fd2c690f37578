"""Templates to HTML. Everything is escaped by Jinja; nothing a user wrote is ever marked safe."""

from __future__ import annotations

import base64
import hashlib
import math
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from agent.contract.record import Captured, Tier

_HERE = Path(__file__).parent
_UNITS = {"um": "µm", "micron": "µm", "degC": "°C", "deg": "°", "electron": "e⁻", "percent": "%"}
_RING = 2 * math.pi * 15.5


@lru_cache(maxsize=1)
def templates() -> jinja2.Environment:
    """The templates of this folder, all autoescaped, an unknown name an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "size": size,
        "count": count,
        "span": span,
        "told": told,
        "percent": percent,
        "ring": ring,
        "address": quote,
        "digits": digits,
        "unit": unit,
        "words": words,
    }
    # Ours, from this folder: the only text that is not escaped.
    environment.globals |= {"style": Markup(_own("style.css")), "script": Markup(_own("live.js"))}  # noqa: S704
    return environment


def render(name: str, **values: Any) -> str:
    """A template of this folder with values."""
    return templates().get_template(name).render(**values)


@lru_cache(maxsize=1)
def policy() -> str:
    """Content-Security-Policy: our own style and script by their hashes, nothing else, from nowhere else."""
    return (
        f"default-src 'none'; style-src '{_fingerprint('style.css')}'; script-src '{_fingerprint('live.js')}'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def size(number: float | None) -> str:
    """Bytes in words: 1.4 GB."""
    if number is None:
        return "unknown"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(number) < 1000 or unit == "TB":
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    raise AssertionError("the last unit returns")


def count(number: float | None) -> str:
    """A count with thin spaces between thousands."""
    return "unknown" if number is None else f"{number:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def span(seconds: float | None) -> str:
    """A span of time, roughly."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def told(captured: Captured | None) -> str:
    """Value and unit; unknown stays unknown."""
    if captured is None or captured.value is None:
        return "unknown"
    value = captured.value
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, list):
        text = ", ".join(f"{part:.6g}" if isinstance(part, float) else str(part) for part in value)
    else:
        text = str(value)
    shown = unit(captured.unit)
    return f"{text} {shown}" if shown else text


def unit(name: str | None) -> str:
    """A unit as people write it."""
    return _UNITS.get(name or "", name or "")


def digits(number: float | None) -> str:
    """Four digits."""
    return "unknown" if number is None else f"{number:.4g}"


def words(name: str) -> str:
    """A name of a metric in words."""
    return name.replace("_", " ")


def percent(tier: Tier) -> int:
    """How complete a tier is; never 100 while something is missing."""
    return 100 if tier.required <= 0 else min(100, 100 * tier.filled // tier.required)


def ring(share: float) -> str:
    """stroke-dasharray of a ring of radius 15.5 that is `share` percent full."""
    full = _RING * max(0.0, min(100.0, share)) / 100
    return f"{full:.2f} {_RING:.2f}"


@lru_cache(maxsize=4)
def _own(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _fingerprint(name: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(_own(name).encode()).digest()).decode()
