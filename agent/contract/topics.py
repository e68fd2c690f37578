"""MQTT topics: `{prefix}/{site}/{instrument}/...`."""

from __future__ import annotations

from dataclasses import dataclass

from agent.contract.ids import check_slug
from agent.errors import Misconfigured

PREFIX = "scope/v1"
LIFECYCLE = (
    "started",
    "finished",
    "aborted",
    "captured",
    "documented",
    "delivered",
    "verified",
    "released",
    "rejected",
)


def check_prefix(prefix: str) -> str:
    """Return the topic prefix, or raise Misconfigured: slugs joined by `/`, no wildcards."""
    if not prefix:
        raise Misconfigured("the MQTT topic prefix is empty: use for example 'scope/v1'")
    for level in prefix.split("/"):
        check_slug("level of the MQTT topic prefix", level)
    return prefix


def check_topic(topic: str) -> str:
    """Return a topic of somebody else, or raise Misconfigured: no wildcards, no control characters, not empty."""
    if not topic or len(topic.encode()) > 1000 or any(c in "+#" or not c.isprintable() for c in topic):
        raise Misconfigured(f"{topic!r} is no MQTT topic: no wildcards (+ #), no control characters, not empty")
    return topic


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one instrument."""

    site: str
    instrument: str
    prefix: str = PREFIX

    def __post_init__(self) -> None:
        check_prefix(self.prefix)
        check_slug("site", self.site)
        check_slug("instrument", self.instrument)

    @property
    def root(self) -> str:
        return f"{self.prefix}/{self.site}/{self.instrument}"

    @property
    def status(self) -> str:
        return f"{self.root}/status"

    @property
    def current(self) -> str:
        return f"{self.root}/acquisition/current"

    @property
    def progress(self) -> str:
        return f"{self.root}/progress"

    def lifecycle(self, event: str) -> str:
        return f"{self.root}/acquisition/{event}"

    def calibration(self, kind: str) -> str:
        return f"{self.root}/calibration/{kind}"

    def alert(self, code: str) -> str:
        return f"{self.root}/alert/{code}"

    @property
    def replay_request(self) -> str:
        """Where anybody allowed asks for past events."""
        return f"{self.root}/request/replay"

    @property
    def amended(self) -> str:
        """Where it is told that a record is to be read otherwise from now on."""
        return self.lifecycle("amended")

    @property
    def session(self) -> str:
        """Where others say who is at the instrument."""
        return f"{self.root}/session"

    def replay(self, topic: str) -> str:
        """Where the past state of a topic of this instrument is told again."""
        return f"{self.root}/replay/{topic.removeprefix(self.root + '/')}"
