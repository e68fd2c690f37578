"""The instrument profile: what software cannot know, written once by the facility in one TOML file.

Components are keyed by Micro-Manager device and, where the device has positions, by the label of the position
(or by the name that the vendor's file uses). A value is a literal, or read from the device: `{prop = "CameraID"}`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import Field, ValidationError

from agent.errors import Misconfigured
from agent.snapshot.parts import (
    Autofocus,
    ChannelEntry,
    Detector,
    Dichroic,
    Environment,
    Filter,
    Focus,
    Keys,
    Light,
    Microscope,
    Objective,
    Other,
    Part,
    Software,
    Stage,
)
from agent.snapshot.plausible import faults


class Profile(Keys):
    """One instrument. The outer key of each table is a device, the inner one the label of a position."""

    microscope: Microscope = Microscope()
    software: Software = Software()
    objective: dict[str, dict[str, Objective]] = Field(default_factory=dict)
    detector: dict[str, Detector] = Field(default_factory=dict)
    filter: dict[str, dict[str, Filter]] = Field(default_factory=dict)
    dichroic: dict[str, dict[str, Dichroic]] = Field(default_factory=dict)
    light: dict[str, Light] = Field(default_factory=dict)
    light_position: dict[str, dict[str, Light]] = Field(default_factory=dict)
    """Lights that share a device, such as the lines of an LED engine, by label."""
    stage: dict[str, Stage] = Field(default_factory=dict)
    focus: dict[str, Focus] = Field(default_factory=dict)
    autofocus: dict[str, Autofocus] = Field(default_factory=dict)
    environment: dict[str, Environment] = Field(default_factory=dict)
    other: dict[str, Other] = Field(default_factory=dict)
    channel: dict[str, ChannelEntry] = Field(default_factory=dict)
    """By preset name, or `group/preset` where two groups use the same name."""
    camera_properties: dict[str, dict[str, str]] = Field(default_factory=dict)
    """More property names of camera adapters: library, then OME name of the setting, then property."""

    def parts(self) -> list[tuple[str, str | None, Part]]:
        """Every part as (device, label or None, part), in the order of the file's tables."""
        single = (self.detector, self.light, self.stage, self.focus, self.autofocus, self.environment, self.other)
        many = (self.objective, self.filter, self.dichroic, self.light_position)
        found: list[tuple[str, str | None, Part]] = []
        for positions in many:
            found += [(device, label, part) for device, table in positions.items() for label, part in table.items()]
        for table in single:
            found += [(device, None, part) for device, part in table.items()]
        return found


def load_profile(path: Path | None) -> Profile:
    """Read a profile; None gives an empty one. Raises Misconfigured in one line that names file, key and remedy."""
    if path is None:
        return Profile()
    try:
        profile = Profile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise Misconfigured(
            f"the instrument profile {path} cannot be read ({error.strerror}): check the path"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"the instrument profile {path} is not valid TOML: {error}") from error
    except ValidationError as error:
        raise Misconfigured(f"instrument profile {path}: {_first(error)}") from error
    fault = next(faults(profile), None)
    if fault is not None:
        raise Misconfigured(f"instrument profile {path}: {fault}")
    return profile


def _first(error: ValidationError) -> str:
    """The most telling fault as `table.device.key: what to do`."""
    faults = error.errors(include_url=False)
    # Where a value may be text or a table, the table's unknown key says more than that it is no text.
    fault = next((f for f in faults if f["type"] == "value_error"), faults[0])
    levels = [str(level) for level in fault["loc"] if level not in ("str", "float", "Live")]
    text = fault["msg"].removeprefix("Value error, ")
    said = "" if fault["type"] in ("value_error", "missing") else f", not {fault['input']!r}"
    return f"{'.'.join(levels) or 'top level'}: {text}{said}"
