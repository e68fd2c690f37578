"""The crate to other eyes: roc-validator's REQUIRED checks without a network, and the page that people read."""

import hashlib
import html.parser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent.contract.record import FileEntry, Metric
from agent.document import Documents
from agent.snapshot import take
from tests.unit.document.sealing import seal
from tests.unit.document.test_record_and_crate import CONTEXT, documents
from tests.unit.snapshot.demo_runs import Recorded

STANDARDS = Path(os.environ.get("SCOPE_AGENT_STANDARDS", Path(__file__).parents[4] / "shared" / "standards"))
VERSION = "roc-validator==0.13.0"


def sealed(made: Documents, folder: Path) -> None:
    """The whole dataset in a folder, small files in the place of the data."""
    names = {"data/a b#ü.ome.tif": "data", "methods.txt": "methods", "metadata.companion.ome": "metadata"}
    entries = []
    for name, role in names.items():
        body = name.encode()
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
        entries.append(FileEntry(path=name, size=len(body), sha256=hashlib.sha256(body).hexdigest(), role=role))
    for name, body in seal(made.record, made.crate, entries).items():
        (folder / name).write_bytes(body)


@pytest.fixture(scope="module")
def validator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has roc-validator, made here unless SCOPE_AGENT_ROC_PYTHON names it."""
    if named := os.environ.get("SCOPE_AGENT_ROC_PYTHON"):
        return Path(named)
    folder = tmp_path_factory.mktemp("roc")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", VERSION], capture_output=True, text=True, timeout=170, check=False
    )
    if done.returncode:
        pytest.skip(f"{VERSION} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    return python


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_required_checks_of_roc_validator_pass_offline(validator: Path, tiff_run: Recorded, tmp_path: Path) -> None:
    context = STANDARDS / "rocrate" / "1.1.jsonld"
    if not context.exists():
        pytest.skip(f"no RO-Crate context at {context}: set SCOPE_AGENT_STANDARDS")
    crate, cache = tmp_path / "crate", tmp_path / "cache"
    sealed(documents(tiff_run, tiff_run.profile), crate)
    seed = Path(__file__).with_name("seed_contexts.py")
    subprocess.run([validator, seed, cache, context], check=True, capture_output=True)
    command = [validator.with_name("rocrate-validator"), "-y", "validate", "--profile-identifier", "ro-crate-1.1"]
    options = ["--requirement-severity", "REQUIRED", "--offline", "--cache-path", cache, "-f", "json", "--no-paging"]

    def validate(folder: Path) -> dict:
        report = tmp_path / "report.json"
        subprocess.run([*command, *options, "-o", report, folder], capture_output=True, timeout=120, check=False)
        return json.loads(report.read_text())

    said = validate(crate)
    assert said["issues"] == []
    assert said["passed"] is True
    # The same checks can fail: a crate without a licence does.
    text = json.loads((crate / "ro-crate-metadata.json").read_text())
    del next(entity for entity in text["@graph"] if entity["@id"] == "./")["license"]
    (crate / "ro-crate-metadata.json").write_text(json.dumps(text))
    assert validate(crate)["passed"] is False


class Page(html.parser.HTMLParser):
    """Checks that tags are closed, and collects text and links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_shows_what_is_in_the_record(tiff_run: Recorded, tmp_path: Path) -> None:
    made = documents(tiff_run, tiff_run.profile)
    sealed(made, tmp_path)
    text = (tmp_path / "ro-crate-preview.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    shown = " ".join(page.text)
    for words in (made.methods.strip(), "Ada Lovelace", "ORCA-Fusion BT", "Channel DAPI", "tier1", "24 of 24 planned"):
        assert words in shown, words
    for entry in json.loads((tmp_path / "acquisition.json").read_text(encoding="utf-8"))["files"]:
        assert entry["sha256"] in shown
    assert "data/a%20b%23%C3%BC.ome.tif" in page.links
    assert not any(link.startswith("http") for link in page.links), "the page must not call home"
    assert "<script" not in text


def test_names_of_users_cannot_become_markup(tiff_run: Recorded, tmp_path: Path) -> None:
    made = documents(tiff_run, tiff_run.profile)
    evil = made.record.model_copy(update={"name": "<script>alert(1)</script>", "site": "a&b"})
    files = [FileEntry(path="data/<b>.tif", size=1, sha256="0" * 64, role="data")]
    text = seal(evil, made.crate, files)["ro-crate-preview.html"].decode()
    assert "<script" not in text
    assert "<b>" not in text
    assert "a&amp;b" in text


def test_calibrations_in_force_are_shown_and_said(tiff_run: Recorded) -> None:
    from dataclasses import replace

    from agent.document import build

    good = Metric(
        value=1.12, unit=None, limit=1.5, limit_sense="at most", limit_source="MetroloJ_QC", kind="psf", result="r-1",
        measured_at="2026-05-03T10:00:00Z", age_days=12.0, status="pass",
    )  # fmt: skip
    bad = good.model_copy(update={"value": 41.5, "unit": "%", "limit": 50.0, "limit_sense": "at least", "kind": "field",
                                  "result": "r-2", "status": "fail"})  # fmt: skip
    never = Metric(value=None, unit=None, kind="stage")
    snapshot = take(tiff_run.acquisition, tiff_run.profile, tiff_run.capture, tiff_run.metadata)
    metrics = {"fwhm_ratio_xy": good, "uniformity": bad, "stage": never}
    state = snapshot.calibration.model_copy(update={"metrics": metrics})
    made = build(CONTEXT, tiff_run.acquisition, replace(snapshot, calibration=state))
    assert (
        "Quality control in force at the time: resolution (beads) measured on 2026-05-03, within its limits; "
        "evenness of the illumination measured on 2026-05-03, not within its limits. Outside of its limits: "
        "uniformity 41.5 % (at least 50 %). Never measured: stage repeatability."
    ) in made.methods
    page = seal(made.record, made.crate, [])["ro-crate-preview.html"].decode()
    assert re.search(r"uniformity</th><td>41\.5 %, at least 50 · <span class=\"bad\">fail</span>", page)
    assert "never measured" in page
    actions = {e["@id"] for e in made.crate["@graph"] if e["@type"] == "CreateAction"}
    assert actions == {"#acquisition", "#qc-r-1", "#qc-r-2"}
