"""Step 4, for runs that are marked as calibration: analyse, record and announce, before they are queued.

A calibration that cannot be analysed is delivered like any other acquisition; the reason becomes an alert.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from agent.acquisition import Acquisition
from agent.calibration import KINDS, CalibrationSettings, Entry, Input, Kind, Registry, entry_of, setup_of, state_at
from agent.calibration.entry import input_of
from agent.calibration.installed import check_installed
from agent.contract.layout import COMPANION, DATA
from agent.contract.record import Record
from agent.errors import Rejected
from agent.steps import workspace
from agent.steps.enqueue import enqueue
from agent.steps.station import Station
from agent.telemetry import announce

if TYPE_CHECKING:
    from agent.calibration.run import Given, Outcome

log = logging.getLogger(__name__)

_BY = "scope-agent (automatic)"
_NO = ("", "no", "none", "false", "off", "0")


def calibrate(station: Station, acquisition: Acquisition) -> None:
    """documented -> queued, through the analysis where the run is a calibration"""
    kind = kind_of(station, acquisition)
    if kind is not None and station.registry is not None:
        _attempt(station, station.registry, acquisition, kind)
    enqueue(station, acquisition)


def kind_of(station: Station, acquisition: Acquisition) -> Kind | None:
    """What a run is a calibration of: said by its metadata, its name, its folder, or the session that it is in."""
    policy = station.calibration
    if not policy.automatic or not acquisition.files:
        return None
    own = _marks(acquisition.marks).get(policy.mark.lower())
    if own is not None:
        return _named(station, acquisition, own)
    kind = _by_place(policy, acquisition)
    if kind is not None:
        return kind
    of_session = station.around.marks(acquisition.started_ns).get("calibration") if station.around else None
    return policy.kind_named(of_session) if of_session else None


def _by_place(policy: CalibrationSettings, acquisition: Acquisition) -> Kind | None:
    name = acquisition.name.lower().replace("-", "_")
    for pattern in policy.names:
        for kind in KINDS:
            if name.startswith(pattern.format(kind=kind).lower().replace("-", "_")):
                return kind
    parts = Path(acquisition.main or acquisition.files[0].path).parent.parts
    for above, folder in pairwise(parts):
        if above.lower() in {one.lower() for one in policy.folders}:
            return policy.kind_named(folder)
    return None


def _named(station: Station, acquisition: Acquisition, said: str) -> Kind | None:
    """The kind that a run's own mark names; a mark that says neither a kind nor no is an alert."""
    kind = station.calibration.kind_named(said) or _by_place(station.calibration, acquisition)
    understood = kind is not None or said.strip().lower() in _NO
    text = f"{acquisition.name}: calibration {said!r} is none of {', '.join(KINDS)}; name the kind in the metadata"
    announce_alerts(station, {"calibration-mark": None if understood else text})
    return None if said.strip().lower() in _NO else kind


def _marks(said: Mapping[str, str]) -> dict[str, str]:
    """By last part of the key, in lower case; of a table `calibration` its `kind` and the rest by `calibration_...`."""
    found = {}
    for key, value in said.items():
        *above, last = key.lower().split(".")
        inside = above[-1:] == ["calibration"]
        found["calibration" if inside and last == "kind" else f"calibration_{last}" if inside else last] = value
    return found


def _attempt(station: Station, registry: Registry, acquisition: Acquisition, kind: Kind) -> None:
    code = f"calibration-{kind}-rejected"
    try:
        entries = _known(registry, acquisition) or _record(station, registry, acquisition, kind)
    except Rejected as error:
        log.warning("calibration %s: %s", kind, error, extra={"action": "calibration.rejected"})
        announce_alerts(station, {code: f"{acquisition.name}: {error}"})
        return
    held = [entry for entry in registry.in_force() if entry.kind == kind]
    told = announce.calibration(station.topics, entries[-1], held, station.clock.now_ns())
    station.outbox.announce([told])
    announce_alerts(station, {code: None, **limits(registry)})
    station.wake()
    log.info("calibration %s recorded", kind, extra={"action": "calibration", "acquisition": acquisition.id})


def _known(registry: Registry, acquisition: Acquisition) -> list[Entry]:
    """What an earlier try recorded before it was interrupted."""
    return [entry for entry in registry.entries() if entry.acquisition == acquisition.id]


def _record(station: Station, registry: Registry, acquisition: Acquisition, kind: Kind) -> list[Entry]:
    record, _ = workspace.drafts(station.workspace / acquisition.id)
    setup = setup_of(record.hardware.components, record.hardware.in_use, record.channels)
    outcomes = _analysed(station, registry, acquisition, record, kind)
    files = tuple(_input(file.path, file.name) for file in acquisition.files)
    now = station.clock.now_ns()
    return registry.add_all(
        entry_of(
            outcome.analysis,
            station.calibration,
            instrument=station.topics.instrument,
            by=str(record.session.user.value) if record.session.user else _BY,
            software=f"scope-agent {station.context.agent_version}",
            holds_for=setup.holds(kind, outcome.channels),
            measured_ns=acquisition.started_ns,
            now_ns=now,
            inputs=files,
            acquisition=acquisition.id,
        )
        for outcome in outcomes
    )


def _input(path: str, name: str) -> Input:
    return input_of(Path(path)).model_copy(update={"name": name})


def _analysed(
    station: Station, registry: Registry, acquisition: Acquisition, record: Record, kind: Kind
) -> Sequence[Outcome]:
    check_installed()
    from agent.calibration.run import analyse, analyse_files

    main = Path(acquisition.main or acquisition.files[0].path)
    given = _given(station, registry, acquisition, record)
    if kind == "power":
        return analyse_files(kind, [main], given)
    from ome_types import OME

    from agent.calibration.images import load_dataset

    # Our own OME-XML knows the optics, exposures and positions, whatever the file says.
    said = OME.from_xml((station.workspace / acquisition.id / COMPANION).read_bytes())
    files = {f"{DATA}/{file.name}": Path(file.path) for file in acquisition.files}
    return analyse(kind, load_dataset(main, files, said, station.calibration.max_gib), given)


def _given(station: Station, registry: Registry, acquisition: Acquisition, record: Record) -> Given:
    """What the sequence's metadata adds, and the camera's offset as it was measured last."""
    from agent.calibration.run import Given

    around = station.around.marks(acquisition.started_ns) if station.around else {}
    marks = around | _marks(acquisition.marks)

    def number(name: str) -> float | None:
        try:
            return float(marks[name]) if name in marks else None
        except ValueError:
            raise Rejected(f"{name} in the metadata of the sequence or session is no number: {marks[name]!r}") from None

    setup = setup_of(record.hardware.components, record.hardware.in_use, record.channels)
    known = state_at(registry.in_force(acquisition.started_ns), setup, acquisition.started_ns)
    offset = known.metrics.get("offset_adu")
    sized = record.calibration.pixel_size.get("PhysicalSizeX")
    return Given(
        pixel_um=float(sized.value) if sized is not None and isinstance(sized.value, int | float) else None,
        offset_adu=number("calibration_offset_adu") or (offset.value if offset else None),
        bead_um=number("calibration_bead_um"),
        spacing_um=number("calibration_spacing_um"),
        area_mm2=number("calibration_area_mm2"),
        series=marks.get("calibration_series"),
        settled_below_um=station.calibration.limits.stabilisation_threshold_um,
    )


def limits(registry: Registry) -> dict[str, str | None]:
    """Alerts of limits that results in force cross, by code; None where none is crossed."""
    crossed: dict[str, list[str]] = {}
    for entry in registry.in_force():
        crossed.setdefault(f"calibration-{entry.kind}-limit", []).extend(entry.failed)
    return {code: "; ".join(lines) or None for code, lines in crossed.items()}


def announce_alerts(station: Station, wanted: dict[str, str | None]) -> None:
    """Announce the alerts that are not yet up as wanted, and clear those that are no longer wanted."""
    topics = {station.topics.alert(code): code for code in wanted}
    said = {event.topic: (event.data or {}).get("text") for event in station.outbox.retained() if event.topic in topics}
    now = station.clock.now_ns()
    changed = [
        announce.alert(station.topics, code, wanted[code], now)
        for topic, code in topics.items()
        if said.get(topic) != wanted[code]
    ]
    if changed:
        station.outbox.announce(changed)
        station.wake()
