"""Settings of the delivery."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AnyHttpUrl, Field, model_validator

from agent.contract.settings import Settings, read_small
from agent.errors import Misconfigured


def _without_secret(url: AnyHttpUrl) -> AnyHttpUrl:
    """Addresses are shown, logged and published."""
    if url.username or url.password:
        raise ValueError("an address holds no user and no password: write them into the file for credentials")
    return url


Address = Annotated[AnyHttpUrl, AfterValidator(_without_secret)]


class S3Settings(Settings):
    """An S3 store."""

    endpoint: Address
    """Its address, without the bucket."""
    bucket: str
    """The bucket, which must exist."""
    prefix: str = ""
    """Put before every dataset path."""
    region: str = "us-east-1"
    """Region that requests are signed for."""
    credentials_file: Path
    """File with two lines: access key id and secret access key."""
    part_mib: int = Field(default=16, ge=5, le=64)
    """Larger files are sent in parts of this size, and go on with the next part after an interruption."""


class FolderSettings(Settings):
    """A folder, such as a mounted share or a UNC path."""

    path: Path
    """Datasets appear below it."""
    read_back: bool = True
    """Read every file again and compare, before it counts as sent."""


class RcloneSettings(Settings):
    """Any storage that rclone reaches: SFTP, SMB, WebDAV, Azure, ..."""

    remote: str
    """Where datasets go: `name:path`, as rclone writes it."""
    config_file: Path
    """rclone's own configuration, with the remote and its credentials."""
    executable: str = "rclone"
    """The program, where it is not on the path."""


class LimitSettings(Settings):
    """How much of the network and of the machine a delivery may take."""

    mib_per_s: float = Field(default=0, ge=0)
    """At most so many MiB a second; 0: no limit."""
    busy_hours: str = Field(default="", pattern=r"^(\d\d:\d\d-\d\d:\d\d)?$")
    """Hours of the day, such as "08:00-18:00" (local time), with a limit of their own."""
    busy_mib_per_s: float = Field(default=20, gt=0)
    """At most so many MiB a second within `busy_hours`."""
    while_acquiring: Literal["off", "slow", "pause"] = "slow"
    """What happens while the microscope is busy: nothing, fewer bytes, or none."""
    slow_mib_per_s: float = Field(default=20, gt=0)
    """At most so many MiB a second while the microscope is busy."""
    busy_processes: tuple[str, ...] = ()
    """While a program of such a name runs, the microscope counts as busy, beside what the hook says."""
    busy_cpu_percent: float = Field(default=0, ge=0, le=100)
    """So does more processor load than this; 0: whatever the load."""
    busy_disk_percent: float = Field(default=0, ge=0, le=100)
    """So does a disk that is busy for more of the time than this (Linux); 0: whatever it does."""
    low_memory_mib: int = Field(default=0, ge=0)
    """So does less free memory than this; 0: however little."""
    reserve_mib: int = Field(default=512, ge=0)
    """With less free space on the disk of `state` the agent writes nothing; below twice this there is an alert."""


class ReleaseSettings(Settings):
    """When source files may be removed from the microscope. Only what the target holds, and never by default."""

    policy: Literal["never", "age", "pressure"] = "never"
    """Never; when old enough; or when old enough and the disk is short of space."""
    after_days: float = Field(default=14, ge=0)
    """Days since the dataset was verified."""
    free_gib: float = Field(default=100, ge=0)
    """Under pressure is a disk with less free space than this."""
    grace_folder: str = ".scope-agent-released"
    """Folder beside the source files, on the same disk, that they are moved to first."""
    grace_days: float = Field(default=30, ge=0)
    """Days in that folder before they are removed for good."""


Kind = Literal["facility", "s3", "folder", "rclone"]


class DeliverySettings(Settings):
    """Where datasets go, and how hard to try."""

    target: Kind = "facility"
    """What takes them: the facility server, or one of the kinds that have a table of their own."""
    url: Address | None = None
    """Address of the facility."""
    token_file: Path | None = None
    """File that holds the access token."""
    token_env: str = "SCOPE_AGENT_TOKEN"  # noqa: S105 -- the name of a variable, no secret
    """Environment variable that holds the token where no file is named."""
    ca_file: Path | None = None
    """Certificates (PEM) to trust beside the system's."""
    chunk_mib: int = Field(default=8, ge=1, le=16)
    """Size of a chunk; each carries its own checksum."""
    stall_s: float = Field(default=30, gt=0)
    """Give up on a peer that sends and takes nothing for so long."""
    retry_first_s: float = Field(default=1, gt=0)
    """First pause after a failure; doubles up to `retry_most_s`."""
    retry_most_s: float = Field(default=300, gt=0)
    """Longest pause between two tries."""
    parallel: int = Field(default=4, ge=1, le=64)
    """Small files that are under way at the same time."""
    limits: LimitSettings = LimitSettings()
    """How much it may take."""
    release: ReleaseSettings = ReleaseSettings()
    """When source files may be removed."""
    s3: S3Settings | None = None
    """The S3 store, for `target = "s3"`."""
    folder: FolderSettings | None = None
    """The folder, for `target = "folder"`."""
    rclone: RcloneSettings | None = None
    """The storage behind rclone, for `target = "rclone"`."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.target == "facility" and self.url is None:
            raise ValueError("'url' is missing: add the address of the facility, or name another target")
        if self.target != "facility" and getattr(self, self.target) is None:
            raise ValueError(f"target is {self.target!r}: add the table [delivery.{self.target}]")
        return self

    @property
    def place(self) -> str:
        """Where datasets go, for people."""
        match self.target:
            case "s3" if self.s3:
                return f"{str(self.s3.endpoint).rstrip('/')}/{self.s3.bucket}/{self.s3.prefix}"
            case "folder" if self.folder:
                return str(self.folder.path)
            case "rclone" if self.rclone:
                return self.rclone.remote
            case _:
                return str(self.url)


def read_token(settings: DeliverySettings) -> str:
    """The access token; empty where none is configured."""
    if settings.token_file is None:
        return os.environ.get(settings.token_env, "")
    try:
        return read_small(settings.token_file).strip()
    except OSError as error:
        raise Misconfigured(f"delivery.token_file {settings.token_file} cannot be read: {error}") from error
