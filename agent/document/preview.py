"""ro-crate-preview.html: the dataset for people, in one page without scripts; every file with its hash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from itertools import islice
from urllib.parse import quote

from agent.contract.layout import CRATE, RECORD
from agent.contract.record import Captured, Component, FileEntry, Metric, Record, Tier
from agent.document.english import capital
from agent.document.words import channel_named

_MANY = 500
"""More files than this are counted, not listed: the manifest has them all."""
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2430;background:#fff}
h1{font-size:1.6rem;margin-bottom:0}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #ccd3dd}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .75rem .25rem 0;vertical-align:top}
td{overflow-wrap:anywhere}tr+tr>*{border-top:1px solid #e6eaf0}code{font-size:.8em;color:#4a5565}
.quiet{color:#5b6675}.bad{color:#a3162a;font-weight:600}
@media(prefers-color-scheme:dark){body{color:#e6eaf0;background:#14181f}code,.quiet{color:#9aa6b5}.bad{color:#ff8f9c}}
"""
Rows = Iterable[tuple[str, str]]


def preview(record: Record, methods: str, files: Iterable[FileEntry]) -> str:
    """The page. `files`: all files but this page and the crate; texts come from users and are escaped."""
    parts = [
        _quiet(" · ".join((record.site, record.instrument, f"{record.started_at[:19]} UTC", record.id))),
        f"<p>{escape(methods.strip())}</p>",
        _table("Acquisition", _acquisition(record)),
        _table("Microscope", _values(record.hardware.microscope)),
        *(_table(_title(part), _values(part.attributes)) for part in _used(record)),
        *(_table(capital(channel_named(channel.name)), _values(channel.settings)) for channel in record.channels),
        _table("Calibration", [*_values(record.calibration.pixel_size), *_metrics(record.calibration.metrics)]),
        _table("Surroundings of the sample", _values(record.environment)),
        _table("Completeness", ((name, _tier(tier)) for name, tier in record.completeness.items())),
        _table("What went wrong or is odd", (("", escape(note)) for note in record.integrity.notes)),
        _files(files),
        _quiet(f"Written by scope-agent {record.agent.version}. For machines: {CRATE}, {RECORD}."),
    ]
    title = escape(record.name)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def _quiet(text: str) -> str:
    return f'<p class="quiet">{escape(text)}</p>'


def _table(title: str, rows: Rows) -> str:
    """`rows`: pairs of plain text and HTML; nothing when there are none."""
    lines = [f'<tr><th scope="row">{escape(name)}</th><td>{value}</td></tr>' for name, value in rows]
    return f"<h2>{escape(title)}</h2>\n<table>{''.join(lines)}</table>" if lines else ""


def _acquisition(record: Record) -> Rows:
    session = record.session
    people = (("User", session.user), ("Project", session.project), ("Sample", session.sample))
    yield from ((name, _value(value)) for name, value in people if value is not None)
    frames = "unknown" if record.actual.frames is None else f"{record.actual.frames:,}"
    planned = f" of {record.planned.frames:,} planned" if record.planned.frames else ""
    yield "Frames", escape(frames + planned)
    yield "Ended", escape(f"{(record.finished_at or 'unknown')[:19]}, {record.finish_reason}")
    yield "Software", escape(", ".join(f"{name} {version}".strip() for name, version in record.software.items()))


def _used(record: Record) -> list[Component]:
    return [part for part in record.hardware.components if part.id in record.hardware.in_use]


def _title(part: Component) -> str:
    return f"{part.kind} {part.label or part.device or part.id}"


def _values(values: Mapping[str, Captured]) -> Rows:
    return ((name, _value(value)) for name, value in values.items() if value.value is not None)


_UNITS = {"um": "µm", "degC": "°C", "mm2": "mm²"}


def _plain(value: object) -> str:
    """As people write it: yes, 7400 and not True, 7400.0."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _value(captured: Captured) -> str:
    value = captured.value
    text = ", ".join(map(_plain, value)) if isinstance(value, list) else _plain(value)
    conflict = f' <span class="bad">but {escape(captured.conflict)}</span>' if captured.conflict else ""
    unit = f" {_UNITS.get(captured.unit, captured.unit)}" if captured.unit else ""
    return f'{escape(text + unit)} <span class="quiet">({captured.source})</span>{conflict}'


def _metrics(metrics: Mapping[str, Metric]) -> Rows:
    for name, metric in metrics.items():
        if metric.value is None:
            yield name, '<span class="quiet">never measured</span>'
            continue
        unit = f" {metric.unit}" if metric.unit else ""
        limit = f", {metric.limit_sense} {metric.limit:.4g}" if metric.limit is not None else ""
        mark = ' class="bad"' if metric.status in ("fail", "overdue") else ""
        day = (metric.measured_at or "")[:10]
        state = "no limit" if metric.status == "none" else metric.status
        yield name, f"{metric.value:.4g}{escape(unit + limit)} · <span{mark}>{state}</span> · {escape(day)}"


def _tier(tier: Tier) -> str:
    said = f"{tier.filled} of {tier.required}"
    missing = f"; missing: {', '.join(tier.missing)}" if tier.missing else ""
    return escape(said + missing)


def _files(files: Iterable[FileEntry]) -> str:
    coming = iter(files)
    rows = [
        f'<tr><td><a href="{quote(file.path)}">{escape(file.path)}</a></td><td>{file.size:,}</td>'
        f"<td><code>{file.sha256}</code></td></tr>"
        for file in islice(coming, _MANY)
    ]
    left = sum(1 for _ in coming)
    more = f'<p class="quiet">and {left:,} more</p>' if left else ""
    head = '<tr><th scope="col">name</th><th scope="col">bytes</th><th scope="col">SHA-256</th></tr>'
    return f"<h2>Files</h2>\n<table>{head}{''.join(rows)}</table>{more}"
