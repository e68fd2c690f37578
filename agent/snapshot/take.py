"""Takes the snapshot: what was captured, what the files say and what the profile knows, in one frozen value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.acquisition import Acquisition
from agent.calibration import Entry, setup_of, state_at
from agent.clock import iso
from agent.contract.record import Captured, Channel, Counts, PropertyChange, Session
from agent.formats.port import Metadata
from agent.snapshot.channels import Run
from agent.snapshot.devices import Devices, State, read_devices
from agent.snapshot.dump import device_dump
from agent.snapshot.filed import Filed, read_files
from agent.snapshot.hardware import Mounted, mounted
from agent.snapshot.match import addressed, in_run_order, matched_components, matched_images
from agent.snapshot.model import Snapshot
from agent.snapshot.pixelsize import pixel_size, with_measured
from agent.snapshot.profile import Profile
from agent.snapshot.runs import read_run
from agent.snapshot.values import attributes, merged
from agent.sources.capture import RunCapture

_ENVIRONMENT = ("Temperature", "Humidity", "CO2Percent")
_WHO = {
    "user": ("user", "user_name", "username", "operator", "experimenter"),
    "project": ("project", "project_name"),
    "sample": ("sample", "sample_name", "specimen"),
}
_SAID_BY_USER = 0.9


@dataclass(slots=True)
class _Parts:
    """What take() puts together."""

    acquisition: Acquisition
    profile: Profile
    capture: RunCapture | None
    metadata: Metadata
    devices: Devices
    filed: Filed
    run: Run
    conflicts: list[str]


def take(
    acquisition: Acquisition,
    profile: Profile,
    capture: RunCapture | None,
    metadata: Metadata | None,
    results: Sequence[Entry] = (),
) -> Snapshot:
    """The snapshot of an acquisition. Pure: the same arguments give an equal snapshot; reads nothing else.

    `capture` is None when only files were seen, `metadata` when no format could read them; what neither tells
    stays unknown. Where sources disagree the stronger one (live, then file, then profile) is kept, the other
    one is named with it and in `conflicts`. `results`: the quality control that was in force when it began.
    """
    said = metadata or Metadata()
    conflicts: list[str] = []
    devices = read_devices(capture)
    found = mounted(profile, devices, conflicts)
    run = read_run(capture, profile, devices, found) if capture else Run()
    filed = read_files(
        in_run_order(said.ome, run), tuple(file.name for file in acquisition.files), said.places, said.planes
    )
    parts = _Parts(acquisition, profile, capture, said, devices, filed, run, conflicts)
    found = _installed(found, run.in_use)
    components, renamed = matched_components(found, filed, conflicts)
    images, notes = matched_images(run, filed, hooked=capture is not None)
    if capture is not None and acquisition.format == "ome-tiff":
        images = addressed(images, [file.name for file in acquisition.files])
    channels = [_known(channel, parts) for channel in (run.channels or filed.channels)]
    channels = [_renamed(channel, renamed) for channel in channels]
    in_use = [renamed.get(i, i) for i in dict.fromkeys([*run.in_use, *filed.in_use, *_always(found)])]
    images = [replace(i, objective=renamed.get(i.objective or "", i.objective)) for i in images]
    microscope = merged(filed.microscope, attributes(profile.microscope, "", run.first_state), "microscope", conflicts)
    calibration = state_at(results, setup_of(components, in_use, channels), acquisition.started_ns)
    size = pixel_size(capture, filed, components, in_use, microscope, channels, conflicts)
    size = with_measured(size, calibration.pixel_size, conflicts)
    return Snapshot(
        started_at=iso(acquisition.started_ns),
        microscope=microscope,
        components=tuple(components),
        in_use=tuple(dict.fromkeys(in_use)),
        objective_settings=merged(run.objective_settings, filed.objective_settings, "objective settings", conflicts),
        channels=tuple(channels),
        images=tuple(images),
        actual=_actual(parts),
        pixel_size=size,
        environment=_environment(parts),
        session=_session(parts),
        software={**said.software, **acquisition.software, **(capture.software if capture else {}), **_core(capture)},
        developer={k: v for k, v in profile.software.model_dump().items() if v},
        property_changes=_changes(capture),
        device_state=device_dump(capture),
        conflicts=tuple(dict.fromkeys(conflicts)),
        notes=_notes(parts, notes),
        not_carried_over=said.not_carried_over,
        skeleton=filed.skeleton,
        plan=capture.sequence if capture else {},
        calibration=calibration.model_copy(update={"pixel_size": size}),
        plane_states=tuple(run.plane_states),
        texts=said.texts,
        acquired_at=iso(acquisition.started_ns) if capture is not None else filed.acquired_at,
    )


def _installed(found: list[Mounted], in_use: list[str]) -> list[Mounted]:
    """Without turret positions that the profile does not know and that nobody turned to: they may be empty."""
    return [m for m in found if m.part is not None or m.component.label is None or m.component.id in in_use]


def _always(found: list[Mounted]) -> list[str]:
    """What surrounds the sample is in use whenever the microscope is."""
    return [m.component.id for m in found if m.component.kind == "EnvironmentalControlDevice"]


def _known(channel: Channel, parts: _Parts) -> Channel:
    """A channel with what the files and the profile's channel table add to it."""
    settings = dict(channel.settings)
    if parts.run.channels:
        by_name = {other.name: other.settings for other in parts.filed.channels}
        settings = merged(settings, by_name.get(channel.name, {}), f"channel {channel.name}", parts.conflicts)
    else:
        entry = parts.profile.channel.get(channel.name)
        extra = attributes(entry, "", {}) if entry else {}
        settings = merged(settings, extra, f"channel {channel.name}", parts.conflicts)
    return channel.model_copy(update={"settings": settings})


def _renamed(channel: Channel, renamed: dict[str, str]) -> Channel:
    return channel.model_copy(update={"components": [renamed.get(i, i) for i in channel.components]})


def _actual(parts: _Parts) -> Counts:
    """Frames that arrived, and the size of each axis."""
    if parts.capture is not None and len(parts.capture.frames):
        frames = parts.capture.frames
        sizes = [max(column) + 1 for column in zip(*frames.index, strict=True)]
        return Counts(frames=len(frames) + parts.capture.bare, shape=sizes, axes=list(frames.axes))
    if parts.capture is not None:
        return Counts(frames=parts.capture.bare)
    images = parts.filed.images
    if not images:
        return Counts()
    frames_filed = sum(i.size[2] * i.size[3] // max(i.samples, 1) * i.size[4] for i in images)
    x, y, z, c, t = images[0].size
    if any(image.size != images[0].size for image in images):
        return Counts(frames=frames_filed)
    return Counts(frames=frames_filed, shape=[len(images), t, c, z, y, x], axes=list("ptczyx"))


def _environment(parts: _Parts) -> dict[str, Captured]:
    state: State = parts.run.first_state or parts.devices.start
    found = dict(parts.filed.environment)
    for device, entry in parts.profile.environment.items():
        values = attributes(entry, device, state)
        # A set point in the profile is no measurement: only what was read counts.
        read = {k: v for k, v in values.items() if k in _ENVIRONMENT and v.source != "profile"}
        found = merged(read, found, "environment", parts.conflicts)
    return found


def _session(parts: _Parts) -> Session:
    marks = {key.rpartition(".")[2].lower(): value for key, value in parts.acquisition.marks.items()}
    taken = iso(parts.acquisition.started_ns)
    said: dict[str, Captured] = {}
    for role, keys in _WHO.items():
        value = next((marks[key] for key in keys if marks.get(key, "").strip()), None)
        if value is not None:
            said[role] = Captured(value=value.encode("utf-8", "replace").decode(), source="session", taken_at=taken)
    if not said:
        return parts.filed.session
    known = parts.filed.session
    return Session(
        user=said.get("user", known.user),
        project=said.get("project", known.project),
        sample=said.get("sample", known.sample),
        confidence=_SAID_BY_USER,
    )


def _core(capture: RunCapture | None) -> dict[str, str]:
    """Versions that the core tells about itself."""
    info = capture.summary.get("system_info", {}) if capture else {}
    version = str(info.get("mmcore_version", "")).removeprefix("MMCore version ")
    return {"MMCore": version} if version else {}


def _changes(capture: RunCapture | None) -> tuple[PropertyChange, ...]:
    return tuple(
        PropertyChange(at=iso(c.at_ns), device=c.device, property=c.property, value=c.value)
        for c in (capture.changes if capture else ())
    )


def _notes(parts: _Parts, more: list[str]) -> tuple[str, ...]:
    capture = parts.capture
    found = [*(capture.notes if capture else ()), *parts.run.notes, *parts.metadata.errors, *more]
    return tuple(dict.fromkeys([*found, *parts.metadata.notes]))
