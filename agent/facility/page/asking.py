"""The search form: what its fields say, and the address that asks the same again."""

from __future__ import annotations

from datetime import UTC, date, datetime
from urllib.parse import urlencode

from pydantic import BaseModel, Field, field_validator

from agent.facility.search import QcStatus, Query

_PAGE = 20
_DAY_NS = 86_400 * 10**9


class Asking(BaseModel):
    """The fields of the form; an empty one asks for nothing. Days are UTC, `until` belongs to what is asked for."""

    q: str = Field("", max_length=200)
    instrument: str = Field("", max_length=130)
    user: str = Field("", max_length=200)
    project: str = Field("", max_length=200)
    sample: str = Field("", max_length=200)
    objective: str = Field("", max_length=200)
    channel: str = Field("", max_length=200)
    since: date | None = None
    until: date | None = None
    complete: int | None = Field(None, ge=0, le=100)
    qc: QcStatus | None = None
    cursor: str | None = Field(None, max_length=400)

    @field_validator("since", "until", "complete", "qc", mode="before")
    @classmethod
    def _empty(cls, value: object) -> object:
        """A form sends a field that nobody filled as an empty text."""
        return None if value == "" else value

    @property
    def searching(self) -> bool:
        """Is anything asked for?"""
        return any(value for value in self.model_dump().values())

    @property
    def narrowing(self) -> bool:
        """Is one of the further fields filled?"""
        return any(value for name, value in self.model_dump().items() if name not in ("q", "instrument", "cursor"))

    def query(self) -> Query:
        said = self.model_dump(exclude={"since", "until"})
        until_ns = _ns(self.until)
        return Query.model_validate(
            {key: value or None if key != "q" else value for key, value in said.items()}
            | {"since_ns": _ns(self.since), "until_ns": until_ns + _DAY_NS if until_ns is not None else None}
            | {"limit": _PAGE}
        )

    def address(self, cursor: str) -> str:
        """Where the next page of the same search is."""
        said = {key: value for key, value in self.model_dump(mode="json").items() if value not in ("", None)}
        return "/?" + urlencode(said | {"cursor": cursor}) + "#found"


def _ns(day: date | None) -> int | None:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 10**9 if day else None
