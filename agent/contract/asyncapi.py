"""The AsyncAPI 3 document and the JSON Schemas of the events, generated from the types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from agent.contract.event import (
    TYPE_PREFIX,
    AcquisitionData,
    AlertData,
    AmendmentData,
    CalibrationData,
    Envelope,
    Progress,
    ReplayRequest,
    SessionData,
    StatusData,
)
from agent.contract.topics import LIFECYCLE, PREFIX

_ROOT = "{prefix}/{site}/{instrument}"
_RUN: dict[str, Any] = {
    "id": "01975c2e-5b7a-7c3e-9d0a-3f1c2b4d5e6f",
    "name": "embryo-3",
    "state": "verified",
    "found_by": "hook",
    "started_at": "2026-03-02T09:15:00.000000Z",
    "finished_at": "2026-03-02T09:25:00.000000Z",
    "finish_reason": "completed",
    "frames_planned": 120,
    "frames_actual": 120,
}
_EPOCH = "69a55d80"
_AMENDMENT: dict[str, Any] = {
    "id": _RUN["id"],
    "name": "embryo-3",
    "dataset": "imaging-facility/widefield-1/2026/03/02/091500_embryo-3_2b4d5e6f",
    "by": "ada",
    "reason": "the wrong sample was booked",
    "confidence": 0.95,
    "changes": [
        {
            "field": "session.sample",
            "before": {"value": "s1", "source": "session", "taken_at": "2026-03-02T08:55:00.000000Z"},
            "after": {"value": "s2", "source": "session", "taken_at": "2026-03-03T10:00:00.000000Z"},
        }
    ],
}
_RESULT: dict[str, Any] = {
    "id": "c-17",
    "measured_at": "2026-03-01T08:00:00.000000Z",
    "due_at": "2026-03-31T08:00:00.000000Z",
    "quality": "good",
    "reasons": [],
    "holds_for": {},
    "series": None,
    "metrics": {"read_noise_rms": {"value": 1.4, "unit": "electron", "status": "pass"}},
}


@dataclass(frozen=True, slots=True)
class Channel:
    """A topic with what is said on it. `data` is the model inside the envelope, or of the bare payload."""

    name: str
    address: str
    summary: str
    data: type[BaseModel]
    example: dict[str, Any] | None
    type: str | None
    """CloudEvents type; None: the payload has no envelope."""
    qos: int = 1
    retained: bool = False
    nullable: bool = False
    receive: bool = False


def channels() -> list[Channel]:
    """Every topic of an instrument."""
    return [
        Channel("status", "status", "Is the agent there; the broker says offline when it vanishes", StatusData,
                {"state": "online", "agent": "1.0.0", "reasons": [], "started_at": "2026-03-02T08:00:00.000000Z"},
                f"{TYPE_PREFIX}.status.v1", retained=True),
        Channel("current", "acquisition/current", "The running acquisition, or null", AcquisitionData,
                _RUN | {"state": "acquiring", "finished_at": None, "finish_reason": None, "frames_actual": 40},
                f"{TYPE_PREFIX}.acquisition.current.v1", retained=True, nullable=True),
        *(Channel(event, f"acquisition/{event}", f"An acquisition was {event}", AcquisitionData, _RUN,
                  f"{TYPE_PREFIX}.acquisition.{event}.v1") for event in LIFECYCLE),
        Channel("amended", "acquisition/amended", "A record that was written is to be read otherwise from now on",
                AmendmentData, _AMENDMENT, f"{TYPE_PREFIX}.acquisition.amended.v1"),
        Channel("progress", "progress", "Each second while there is something to do, else twice a minute", Progress,
                {"acquisition": _RUN["id"], "frames": 40, "planned": 120, "queue": 2, "bytes_left": 10_000_000,
                 "disk_free": 500_000_000_000, "last": 4711, "epoch": _EPOCH}, None, qos=0),
        Channel("calibration", "calibration/{kind}", "The latest results of a kind of calibration", CalibrationData,
                {"kind": "detector", "status": "pass", "next_due": _RESULT["due_at"], "newest": "c-17",
                 "results": [_RESULT]}, f"{TYPE_PREFIX}.calibration.{{kind}}.v1", retained=True),
        Channel("alert", "alert/{code}", "Something needs a human; cleared by data null and an empty retained payload",
                AlertData, {"code": "watch-lost", "text": "D:/images: the share is gone"},
                f"{TYPE_PREFIX}.alert.{{code}}.v1", retained=True, nullable=True),
        Channel("replayRequest", "request/replay", "Ask for past events; state that is over comes below replay/",
                ReplayRequest, {"since": 4711}, None, receive=True),
        Channel("session", "session", "Who is at the instrument; null when the session ends",
                SessionData, {"user": "ada", "project": "P12", "sample": "s1"}, None, nullable=True, receive=True),
    ]  # fmt: skip


def schemas(template: str = "#/$defs/{model}") -> dict[str, Any]:
    """JSON Schemas (2020-12) of every payload, by name of the type."""
    models: list[type[BaseModel]] = [
        Envelope,
        StatusData,
        AcquisitionData,
        CalibrationData,
        AlertData,
        AmendmentData,
        Progress,
        ReplayRequest,
        SessionData,
    ]
    _, made = models_json_schema([(model, "serialization") for model in models], ref_template=template)
    found: dict[str, Any] = made["$defs"]
    # A field with a default is sent only where it says something.
    for model in models:
        required = [name for name, field in model.model_fields.items() if field.is_required()]
        if model is Envelope:
            required = [name for name in model.model_fields if name not in ("epoch", "truncated")]
        found[model.__name__] |= {"required": required}
    return found


def schema_document() -> dict[str, Any]:
    """The schemas as one JSON Schema document: an event in its envelope."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": "#/$defs/Envelope", "$defs": schemas()}


def document() -> dict[str, Any]:
    """The AsyncAPI 3 document."""
    listed = channels()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "scope-agent",
            "version": "1",
            "description": "What a microscope tells over MQTT. Events are CloudEvents 1.0; `id` never changes, "
            "`sequence` counts an instrument's events without gaps (0: the last will is not counted). "
            "It begins again at 1, in a later `epoch`, where an agent lost its outbox.",
        },
        "defaultContentType": "application/json",
        "channels": {channel.name: _channel(channel) for channel in listed},
        "operations": {channel.name: _operation(channel) for channel in listed},
        "components": {
            "schemas": schemas("#/components/schemas/{model}"),
            "messages": {channel.name: _message(channel) for channel in listed},
            "parameters": {
                "prefix": {"description": "First levels of every topic.", "default": PREFIX},
                "site": {"description": "The facility."},
                "instrument": {"description": "The microscope, unique within the site."},
                "kind": {"description": "Kind of calibration, such as detector or psf."},
                "code": {"description": "What the alert is about."},
            },
        },
    }


def _channel(channel: Channel) -> dict[str, Any]:
    address = f"{_ROOT}/{channel.address}"
    names = [name for name in ("prefix", "site", "instrument", "kind", "code") if f"{{{name}}}" in address]
    return {
        "address": address,
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in names},
        "messages": {channel.name: {"$ref": f"#/components/messages/{channel.name}"}},
    }


def _operation(channel: Channel) -> dict[str, Any]:
    return {
        "action": "receive" if channel.receive else "send",
        "summary": channel.summary,
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "messages": [{"$ref": f"#/channels/{channel.name}/messages/{channel.name}"}],
        "bindings": {"mqtt": {"qos": channel.qos, "retain": channel.retained, "bindingVersion": "0.2.0"}},
    }


def _message(channel: Channel) -> dict[str, Any]:
    data: dict[str, Any] = {"$ref": f"#/components/schemas/{channel.data.__name__}"}
    said = {"name": channel.name, "summary": channel.summary, "contentType": "application/json"}
    if channel.type is None:
        bare = {"oneOf": [data, {"type": "null"}]} if channel.nullable else data
        return said | {"payload": bare, "examples": [{"name": channel.name, "payload": channel.example}]}
    example: Any = Envelope(
        id="7f0a3c8e-5a55-5d0c-9f3e-0d2a4b6c8e10",
        source="/imaging-facility/widefield-1",
        type=channel.type.format(kind="detector", code="watch-lost"),
        subject=_RUN["id"] if "acquisition" in channel.address else channel.name,
        time="2026-03-02T09:30:00.000000Z",
        sequence=4711,
        epoch=_EPOCH,
        data=channel.example,
    ).model_dump(exclude={"truncated"})
    allowed = {"oneOf": [data, {"type": "null"}]} if channel.nullable else data
    typed = {"const": channel.type} if "{" not in channel.type else {"pattern": _pattern(channel.type)}
    inside = {"type": "object", "properties": {"type": typed, "data": allowed}}
    payload = {"allOf": [{"$ref": "#/components/schemas/Envelope"}, inside]}
    return said | {"payload": payload, "examples": [{"name": channel.name, "payload": example}]}


def _pattern(kind: str) -> str:
    """A regular expression for a CloudEvents type with one free part."""
    before, _, after = kind.replace(".", "[.]").partition("{")
    return f"^{before}[a-z0-9-]+{after.partition('}')[2]}$"
