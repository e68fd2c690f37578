"""Settings of the MQTT connection."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from agent.contract.settings import Settings
from agent.contract.topics import PREFIX, check_prefix, check_topic
from agent.errors import Misconfigured
from agent.telemetry.nemo import PREFIX as NEMO_PREFIX
from agent.telemetry.nemo import topics as nemo_topics


class MqttSettings(Settings):
    """Which broker, as whom."""

    host: str
    """Name or address of the broker."""
    port: int = Field(default=1883, ge=1, le=65535)
    """Its port."""
    prefix: str = PREFIX
    """First levels of every topic."""
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    """MQTT version; `auto` tries 5 and falls back to 3.1.1."""
    user: str | None = None
    """User name, where the broker wants one."""
    password_file: Path | None = None
    """File that holds the password."""
    password_env: str = "SCOPE_AGENT_MQTT_PASSWORD"  # noqa: S105 -- the name of a variable
    """Environment variable that holds the password where no file is named."""
    ca_file: Path | None = None
    """Certificates (PEM) to trust; naming one turns TLS on."""
    certificate_file: Path | None = None
    """Our own certificate (PEM), where the broker asks for one."""
    key_file: Path | None = None
    """The key of our own certificate."""
    keepalive_s: int = Field(default=20, ge=5, le=600)
    """Seconds between two signs of life; after 1.5 times that the broker publishes the last will."""

    keep_days: int = Field(default=30, ge=1, le=3650)
    """Events are kept for so many days after the broker took them, and can be asked for again."""

    sensor_temperature: str | None = None
    """Topic of the room's temperature: a number, or {"value": number, "time": RFC 3339}, in degrees Celsius."""
    sensor_humidity: str | None = None
    """Topic of the relative humidity, in percent."""
    sensor_carbon_dioxide: str | None = None
    """Topic of the CO2 at the sample, in percent."""

    nemo_tool: int | None = Field(default=None, ge=1)
    """Id of this microscope as a tool in NEMO, whose nemo-mqtt-bridge tells who enabled it."""
    nemo_prefix: str = NEMO_PREFIX
    """First levels of the bridge's topics."""

    @property
    def inbound(self) -> list[str]:
        """Topics that somebody else publishes and this agent listens to."""
        sensors = (self.sensor_temperature, self.sensor_humidity, self.sensor_carbon_dioxide)
        usage = nemo_topics(self.nemo_tool, self.nemo_prefix) if self.nemo_tool is not None else ()
        return [*usage, *(topic for topic in sensors if topic)]

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        # An IPv6 address has colons, but never one alone.
        if not value.strip() or "/" in value or value.count(":") == 1:
            raise ValueError(
                f"{value!r} is not a name or address alone: leave out mqtt://, and write the port as 'port'"
            )
        return value.strip()

    @field_validator("sensor_temperature", "sensor_humidity", "sensor_carbon_dioxide", "nemo_prefix")
    @classmethod
    def _topic(cls, value: str | None) -> str | None:
        try:
            return check_topic(value) if value is not None else None
        except Misconfigured as error:
            raise ValueError(str(error)) from error

    @field_validator("prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        try:
            return check_prefix(value)
        except Misconfigured as error:
            raise ValueError(str(error)) from error
