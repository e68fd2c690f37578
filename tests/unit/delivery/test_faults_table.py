"""docs/faults.md names only tests that exist."""

from __future__ import annotations

import re

from tests.conftest import ROOT


def test_every_named_test_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")))
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    missing = {name for name in named if f"def {name}(" not in source}
    assert len(named) > 30
    assert not missing
