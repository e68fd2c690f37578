"""Gathers each stage's frozen settings; `load` reads them from one TOML file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, field_validator

from agent.acquisition.settings import SettleSettings
from agent.calibration.settings import CalibrationSettings
from agent.contract.ids import check_slug
from agent.contract.settings import Settings, read_toml, validate
from agent.delivery.settings import DeliverySettings
from agent.document.settings import DocumentSettings
from agent.errors import Misconfigured
from agent.formats.settings import FormatSettings
from agent.sources.settings import HookSettings, WatchSettings
from agent.telemetry.settings import MqttSettings


class LogSettings(Settings):
    """The log file of the daemon: one JSON line an event."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important lines that are kept."""
    file_mib: int = Field(default=10, ge=1)
    """The file is rolled over at this size."""
    files: int = Field(default=5, ge=1)
    """So many rolled files are kept."""


class MetricsSettings(Settings):
    """Numbers for Prometheus, at http://127.0.0.1:PORT/metrics."""

    port: int = Field(default=0, ge=0, le=65535)
    """Port on loopback; 0: none."""


class Config(Settings):
    """Everything that a facility can set. Relative paths start from the folder of the config file."""

    site: str
    """The facility; first level of every dataset path and topic."""
    instrument: str
    """This microscope; unique within the site."""
    state: Path
    """Folder of the outbox, the documents in the making and the log. On a local disk."""
    profile: Path | None = None
    """The instrument profile: what no software knows of the hardware."""
    hook: HookSettings = HookSettings()
    """Acquisitions of pymmcore-plus, told by the hook."""
    watch: tuple[WatchSettings, ...] = ()
    """Folders that acquisition software writes to."""
    settle: SettleSettings = SettleSettings()
    """When the files of a hooked acquisition count as whole."""
    formats: FormatSettings = FormatSettings()
    """Who else may read what the agent cannot."""
    calibration: CalibrationSettings = CalibrationSettings()
    """The facility's policy of quality control."""
    document: DocumentSettings = DocumentSettings()
    """What goes into delivered files."""
    delivery: DeliverySettings
    """The facility server."""
    mqtt: MqttSettings | None = None
    """The MQTT broker; without it events wait in the outbox."""
    log: LogSettings = LogSettings()
    """The log file."""
    metrics: MetricsSettings = MetricsSettings()
    """Numbers for Prometheus."""

    @field_validator("site", "instrument")
    @classmethod
    def _slug(cls, value: str) -> str:
        try:
            return check_slug("name", value)
        except Misconfigured as error:
            raise ValueError(str(error)) from error


def load(path: Path) -> Config:
    """The settings in a TOML file, paths made absolute; Misconfigured in one line otherwise."""
    config = validate(Config, read_toml(path), str(path))
    return _absolute(config, path.resolve().parent)


def fingerprint(config: Config) -> str:
    """SHA-256 of all settings; two agents with the same one behave the same. Secrets are not part of settings."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()


Model = TypeVar("Model", bound=BaseModel)


def _absolute(model: Model, base: Path) -> Model:
    """The same settings with every relative path made absolute below `base`."""
    changed = {name: _resolve(getattr(model, name), base) for name in type(model).model_fields}
    return model.model_copy(update=changed)


def _resolve(value: Any, base: Path) -> Any:
    match value:
        case Path():
            return base / value.expanduser()
        case BaseModel():
            return _absolute(value, base)
        case tuple():
            return tuple(_resolve(inner, base) for inner in value)
        case _:
            return value
