"""Databases and stores for the facility's tests: each a real one, or skipped with a reason."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers import BUCKET, KEY, SECRET, seaweedfs


@contextmanager
def postgresql() -> Iterator[str]:
    """The SQLAlchemy address of a PostgreSQL with an empty database; `SCOPE_AGENT_POSTGRES` names one to use."""
    named = os.environ.get("SCOPE_AGENT_POSTGRES")
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'scope-agent[postgres]'")
    if named:
        yield named
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pgserver = pytest.importorskip("pgserver", reason="no PostgreSQL: pip install 'scope-agent[servers]'")
    # Run by root, it runs as another user, who has to get into the folder.
    folder = Path(tempfile.mkdtemp(prefix="scope-agent-postgres-"))
    folder.chmod(0o755)
    server = pgserver.get_server(folder / "data", cleanup_mode="delete")
    try:
        yield server.get_uri().replace("postgresql:", "postgresql+psycopg:")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def empty(url: str) -> None:
    """Forget what an earlier test left in the database."""
    import sqlalchemy as sa

    from agent.facility.tables import tables

    engine = sa.create_engine(url)
    tables.drop_all(engine)
    engine.dispose()


@contextmanager
def s3(folder: Path) -> Iterator[dict[str, Any]]:
    """Settings of a facility whose datasets lie in a real S3 store."""
    pytest.importorskip("obstore", reason="obstore is not installed: pip install 'scope-agent[s3]'")
    with seaweedfs(folder) as port:
        credentials = folder / "credentials"
        credentials.write_text(f"{KEY}\n{SECRET}\n")
        yield {"s3_endpoint": f"http://127.0.0.1:{port}", "s3_credentials_file": credentials, "bucket": BUCKET}
