"""Settings of the facility."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from agent.contract.settings import Settings as _Base
from agent.contract.topics import PREFIX, check_prefix

GIB = 1 << 30


class Settings(_Base):
    """Where the facility keeps its data, where it listens, and what it accepts."""

    data_dir: Path
    """Datasets, unfinished uploads, catalogue and tokens lie below it; one file system."""
    host: str = "127.0.0.1"
    port: int = Field(default=8460, ge=0, le=65535)
    """0 picks a free port."""
    title: str = Field(default="Microscopes", max_length=80)
    """Heading of the page."""
    store: str | None = None
    """Where the datasets lie: a folder, `s3://bucket/prefix`, or `file:///folder` for a folder that several replicas
    share; `datasets` in the data folder where none is named. Datasets that lie there already are catalogued."""
    s3_endpoint: str | None = None
    """Address of an S3 store that is not AWS."""
    s3_region: str | None = None
    s3_credentials_file: Path | None = None
    """Two lines, key and secret; where none is named, they are looked for as AWS tools do."""
    tokens_file: Path | None = None
    """`tokens.txt` in the data folder where none is named."""
    catalogue_url: str | None = None
    """SQLAlchemy address; SQLite in the data folder where none is named."""
    open_reading: bool | None = None
    """May everybody read? None: only where nobody but this machine can connect."""

    proxy_user_header: str | None = None
    """Header in which an authenticating proxy names the reader, such as X-Forwarded-User; none is believed without."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks from which that header, and X-Forwarded-For, are believed."""
    reads_per_s: float = Field(default=50, gt=0)
    """Requests of one reader in the long run; ten times as many at once."""
    writes_per_s: float = Field(default=2000, gt=0)
    """Requests of one instrument in the long run; ten times as many at once."""
    failures_per_minute: float = Field(default=60, gt=0)
    """Wrong or missing tokens from one address."""
    recheck_days: float = Field(default=90, gt=0)
    """The bytes of every dataset are compared with its manifest again after so long."""

    own_broker: bool = False
    """Start a broker of our own where none is named."""
    mqtt_port: int = Field(default=1883, ge=0, le=65535)
    """Port of our own broker; 0, or one that is taken: a free one."""
    broker_host: str | None = None
    """MQTT broker of the agents; without one the page shows datasets only."""
    broker_port: int = Field(default=1883, ge=1, le=65535)
    broker_user: str | None = None
    broker_password: SecretStr | None = None
    broker_tls: bool = False
    broker_ca_file: Path | None = None
    """Certificates (PEM) to trust, where the broker's is of the facility's own authority; naming one turns TLS on."""
    prefix: str = PREFIX

    max_file_bytes: int = Field(default=16 * 1024 * GIB, gt=0)
    max_manifest_bytes: int = Field(default=64 << 20, gt=0)
    max_metadata_bytes: int = Field(default=8192, gt=0)
    """Of the Upload-Metadata header."""
    min_free_bytes: int = Field(default=256 << 20, ge=0)
    """An upload that would leave less free space is refused with 507."""
    stall_s: float = Field(default=60, gt=0)
    """A sender that sends nothing for so long is given up."""
    expire_days: float = Field(default=14, gt=0)
    """Unfinished uploads and datasets that were never committed are removed after so long without a byte."""
    max_viewers: int = Field(default=200, gt=0)
    """Live pages open at the same time."""

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for net in value:
            ipaddress.ip_network(net, strict=False)
        return value

    @field_validator("prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        return check_prefix(value)

    @property
    def is_remote(self) -> bool:
        """The datasets lie behind a URL."""
        return bool(self.store and "://" in self.store)

    @property
    def datasets(self) -> Path:
        """The folder of the datasets, where they lie in one."""
        return Path(self.store) if self.store else self.data_dir / "datasets"

    @property
    def private(self) -> Path:
        """Beside the datasets, on their file system: what is not a dataset yet."""
        return self.datasets / ".facility" if self.store else self.data_dir

    @property
    def tokens(self) -> Path:
        return self.tokens_file or default_tokens(self.data_dir)

    @property
    def catalogue(self) -> str:
        return self.catalogue_url or f"sqlite:///{(self.data_dir / 'catalogue.sqlite').as_posix()}"

    @property
    def audit(self) -> Path:
        """The audit log."""
        return default_audit(self.data_dir)

    @property
    def reading_is_open(self) -> bool:
        return self.open_reading if self.open_reading is not None else is_loopback(self.host)


def default_tokens(data_dir: Path) -> Path:
    """Where the tokens of a facility lie when no other file is named."""
    return data_dir / "tokens.txt"


def default_audit(data_dir: Path) -> Path:
    """Where the audit log of a facility lies."""
    return data_dir / "audit.jsonl"


def is_loopback(host: str) -> bool:
    """True where only programs of this machine can connect."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
