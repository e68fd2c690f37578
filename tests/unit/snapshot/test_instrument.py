"""Profiles from a core, a configuration, a vendor's file and the Micro-Meta App; PIDINST; the commands."""

import gzip
import io
import json
import os
import subprocess
import sys
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest
from lxml import etree

from agent.acquisition import Acquisition, FoundBy, State
from agent.document import Context, build
from agent.document.profiled import assess
from agent.errors import Misconfigured
from agent.snapshot import Profile, load_profile, take
from agent.snapshot.adapters import SETTINGS, camera_identity, camera_settings
from agent.snapshot.core import ask_core
from agent.snapshot.devices import Reading
from agent.snapshot.draft import of_summary
from agent.snapshot.draft_file import of_file
from agent.snapshot.metaapp import Imported, read_metaapp
from agent.snapshot.metaapp_fields import FIELDS, TABLES, converted
from agent.snapshot.mmcfg import read_cfg
from agent.snapshot.pidinst import pidinst, to_xml
from agent.snapshot.profile_text import Marginalia, profile_text
from tests.conftest import ROOT
from tests.unit.snapshot.demo_runs import PROFILE

STANDARDS = Path(os.environ.get("SCOPE_AGENT_STANDARDS", ROOT.parent / "shared" / "standards"))
TESM = STANDARDS / "fourfront" / "example_Microscope_TESM_tier3.json"
needs_standards = pytest.mark.skipif(
    not TESM.exists(), reason=f"no standards at {STANDARDS}: set SCOPE_AGENT_STANDARDS"
)


def demo_cfg() -> Path:
    from mm_test_adapters import device_adapter_path

    return Path(device_adapter_path()) / "MMConfig_demo.cfg"


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def command(*arguments: object) -> Done:
    """The command line as a user runs it, within this process."""
    from agent.cli.app import main

    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["scope-agent", "instrument", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def back(profile: Profile) -> Profile:
    return Profile.model_validate(tomllib.loads(profile_text(profile)))


def test_a_profile_as_text_reads_back_to_itself() -> None:
    profile = load_profile(PROFILE)
    assert back(profile) == profile
    odd = Profile.model_validate(
        {
            "detector": {'a."b"\\ü\x7f\n': {"model": 'x"\t', "also": {"Odd key [µm]": 0.1, "Yes": True}}},
            "autofocus": {"A": {}},
        }
    )
    assert back(odd) == odd


# Drafts


def test_a_draft_of_the_demo_core(tmp_path: Path) -> None:
    path = tmp_path / "instrument.toml"
    done = command("init", "--out", path)
    assert done.returncode == 0, done.stderr
    profile = load_profile(path)
    assert set(profile.objective["Objective"]) == {
        "Nikon 40X Plan Fluor ELWD", "Nikon 10X S Fluor", "Nikon 20X Plan Fluor ELWD",
    }  # fmt: skip
    ten = profile.objective["Objective"]["Nikon 10X S Fluor"]
    assert (ten.magnification, ten.na, ten.correction) == (10, None, "SuperFluor")
    assert set(profile.detector) == {"Camera"}
    assert profile.detector["Camera"].settings.gain.prop == "Gain"
    assert profile.detector["Camera"].settings.temperature_c.prop == "CCDTemperature RO"
    assert {role.role for role in profile.filter["Emission"].values()} == {"emission"}
    assert profile.dichroic["Dichroic"]["Q505LP"].cut_on_nm == 505
    assert profile.light_position["LED"]["470nm"].wavelength_nm == 470
    assert (set(profile.stage), set(profile.focus), set(profile.autofocus)) == ({"XY"}, {"Z"}, {"Autofocus"})
    assert {"DAPI", "FITC", "Channel-Multiband/DAPI"} <= set(profile.channel)
    # What was found and what is missing is told; what the file needs stands in it, to be filled in.
    assert "detector Camera: camera of library DemoCamera" in done.stderr
    assert "not used: Path (positions State-0, State-1, State-2)" in done.stderr
    assert "tier1: " in done.stderr
    missing = json.loads(command("check", path, "--json").stdout)["tier1"]["missing"]
    assert "objective Nikon 10X S Fluor: numerical aperture" in missing
    text = path.read_text(encoding="utf-8")
    assert "#na =   # tier 1: numerical aperture" in text
    assert "magnification = 10  # read from the label: check it" in text


RUNNING = """
import sys, useq
from pymmcore_plus import CMMCorePlus
from agent.hook import attach
core = CMMCorePlus()
core.loadSystemConfiguration()
attach(core, sys.argv[1])
core.mda.run(useq.MDASequence(channels=["DAPI"]))
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_draft_of_the_core_that_runs(tmp_path: Path) -> None:
    """As its hook wrote it down: the devices are in use, nobody else may open them."""
    spool = tmp_path / "spool"
    empty = command("init", "--running", "--spool", tmp_path)
    assert (empty.returncode, "no hooked process has acquired anything" in empty.stderr) == (2, True)
    missing = command("init", "--running", "--spool", spool)
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYMM_LOG_LEVEL": "ERROR"}
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNING, spool], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    try:
        assert process.stdout.readline() == b"ready\n"
        done = command("init", "--running", "--spool", spool)
    finally:
        process.communicate(timeout=30)
    assert done.returncode == 0
    assert "its process still runs" in done.stderr
    profile = Profile.model_validate(tomllib.loads(done.stdout))
    assert profile == of_summary(ask_core(sys.executable, None)).profile
    assert "its process has ended" in command("init", "--running", "--spool", spool).stderr


def test_a_configuration_read_as_text_gives_the_same_parts() -> None:
    told = of_summary(ask_core(sys.executable, demo_cfg()))
    read = of_summary(read_cfg(demo_cfg()))
    assert [(d, label, part.kind) for d, label, part in read.profile.parts()] == [
        (d, label, part.kind) for d, label, part in told.profile.parts()
    ]
    assert set(read.profile.channel) == set(told.profile.channel)


def test_a_draft_of_a_delivered_device_state(tmp_path: Path) -> None:
    path = tmp_path / "device-state.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"start": read_cfg(demo_cfg())}).encode()))
    done = command("init", path)
    assert done.returncode == 0
    assert "[dichroic.Dichroic.Q505LP]" in done.stdout
    path.write_bytes(b"no gzip")
    assert command("init", path).returncode == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [("not a cfg\n", "no Micro-Manager configuration"), ("", "no Micro-Manager configuration")],
)
def test_what_is_no_configuration_is_said_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.cfg"
    path.write_text(text)
    with pytest.raises(Misconfigured, match=says):
        read_cfg(path)


NIKON = """\
Device,TIScope,NikonTI,TIScope
Device,TINosePiece,NikonTI,TINosePiece
Device,TIXYDrive,NikonTI,TIXYDrive
Device,TIZDrive,NikonTI,TIZDrive
Device,TIPFSStatus,NikonTI,TIPFSStatus
Device,Andor,Andor,Andor
Device,Wheel-A,SutterLambda,Wheel-A
Device,CSUX-Dichroic,CSUX,CSUX-Dichroic Mirror
Device,Obis488,CoherentOBIS,CoherentObis
Device,COM3,SerialManager,COM3
Property,Core,Camera,Andor
Property,Core,Shutter,Wheel-A
Property,Core,Focus,TIZDrive
Label,TINosePiece,0,1-Plan Fluor 4x NA 0.13
Label,TINosePiece,3,4-
Label,TINosePiece,4,5-Plan Apo λ 60x/1.40 Oil
Label,Wheel-A,0,ET525/50m
Label,Wheel-A,1,Empty
Label,Wheel-A,2,ET605/70m
Label,CSUX-Dichroic,0,405/488/561/640
"""


def test_a_draft_of_a_configuration_of_a_real_kind(tmp_path: Path) -> None:
    """Roles that MMConfig does not write, a wheel that is the core's shutter, a laser, positions without a lens."""
    path = tmp_path / "ti.cfg"
    path.write_text(NIKON, encoding="utf-8")
    draft = of_summary(read_cfg(path))
    profile = draft.profile
    assert set(profile.objective["TINosePiece"]) == {"1-Plan Fluor 4x NA 0.13", "5-Plan Apo λ 60x/1.40 Oil"}
    sixty = profile.objective["TINosePiece"]["5-Plan Apo λ 60x/1.40 Oil"]
    assert (sixty.magnification, sixty.na, sixty.immersion, sixty.correction) == (60, 1.4, "Oil", "PlanApo")
    assert (set(profile.stage), set(profile.focus), set(profile.autofocus)) == (
        {"TIXYDrive"}, {"TIZDrive"}, {"TIPFSStatus"},
    )  # fmt: skip
    assert set(profile.detector) == {"Andor"}
    assert {label: part.bands_nm for label, part in profile.filter["Wheel-A"].items()} == {
        "ET525/50m": [(500, 550)], "ET605/70m": [(570, 640)],
    }  # fmt: skip
    assert profile.dichroic["CSUX-Dichroic"]["405/488/561/640"].bands_nm == []
    laser = profile.light["Obis488"]
    assert (laser.source, laser.wavelength_nm) == ("Laser", 488)
    assert draft.unused == ["TIScope (NikonTI, GenericDevice)"]


def test_a_core_that_cannot_load_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.cfg"
    path.write_text("Device,Camera,NoSuchLibrary,X\n")
    with pytest.raises(Misconfigured, match="could not load"):
        ask_core(sys.executable, path)
    with pytest.raises(Misconfigured, match="cannot be started"):
        ask_core(str(tmp_path / "no-python"), None)


def test_a_draft_of_a_vendors_file(corpus: Path) -> None:
    from agent.formats import identify

    path = next(iter(sorted((corpus / "czi").glob("CellDivision*.czi"))))
    form = identify(path)
    profile = of_file(form.metadata(form.dataset(path)), path.name).profile
    (objectives,) = profile.objective.values()
    assert list(objectives) == ["Plan-Apochromat 50x/1.2"]
    assert objectives["Plan-Apochromat 50x/1.2"].na == 1.2
    assert "Axiocam506m" in profile.detector
    assert back(profile) == profile


def test_missing_keys_are_named_by_table() -> None:
    said = assess(of_summary(read_cfg(demo_cfg())).profile)
    assert ("na", "tier 1: numerical aperture") in said.wanted["objective", "Objective", "Nikon 10X S Fluor"]
    assert ("stand", "tier 1: type") in said.wanted["microscope",]
    whole = assess(load_profile(PROFILE))
    assert whole.tiers["tier1"].missing == []
    text = profile_text(load_profile(PROFILE), Marginalia(wanted=whole.wanted))
    assert "#also.WavelengthProfile =   # tier 3: quantum efficiency curve" in text


# Micro-Meta App


@pytest.fixture(scope="module")
def tesm() -> Imported:
    if not TESM.exists():
        pytest.skip(f"no standards at {STANDARDS}: set SCOPE_AGENT_STANDARDS")
    return read_metaapp(TESM)


def ome_of(profile: Profile) -> etree._Element:
    acquisition = Acquisition(
        "0198b1e0-0000-7000-8000-000000000001", "watch:x", FoundBy.WATCH, "x", State.COMPLETE, 1_700_000_000_000_000_000
    )
    snapshot = take(acquisition, profile, None, None)
    return etree.fromstring(build(Context("lab", "tesm", "0.1.0", "0" * 64), acquisition, snapshot).ome_xml)


def test_seventy_seven_components_reach_ome_and_none_of_their_facts_is_lost(tesm: Imported) -> None:
    """Each fact of the file is an attribute of its OME element, converted, or stands in its annotation as it was."""
    raw = json.loads(TESM.read_text(encoding="utf-8"))
    assert sum(tesm.found.values()) == len(raw["components"]) == 77
    profile = back(tesm.profile)
    assert profile == tesm.profile
    said = annotations(ome_of(profile))
    checked = 0
    for component in raw["components"]:
        pairs, attributes = said[component["ID"]]
        rules = FIELDS[table_of(component)]
        for name, value in component.items():
            if value is None or not str(value).strip() or name in DRAWN or "Number_Of_" in name:
                continue
            checked += 1
            plain = text_of(value)
            if pairs.get(name) in (plain, str(value)):
                continue
            rule = next(rule for rule in rules.values() if name in (rule.name, rule.unit_field))
            if name != rule.name:
                continue  # the unit of a number that was converted
            told = converted(rule, component)
            values = {**pairs, **attributes}.values()
            assert any(same(told, one) for one in values), (component["Name"], name, value)
    assert checked > 1500
    # What only draws is kept in the profile, and said.
    assert tesm.drawing["Width"] == tesm.drawing["OffsetX"] == 77
    links = {key: pairs for pairs, _ in said.values() for key in pairs if key.startswith("Linked.")}
    assert len(links) >= 20


DRAWN = {"Width", "Height", "OffsetX", "OffsetY", "PositionX", "PositionY", "PositionZ", "OccupiedSpot", "occupiedSpot"}
NS = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


def table_of(component: dict) -> str:
    schema = component["Schema_ID"].removesuffix(".json")
    return TABLES.get(schema) or ("light" if "LightSource" in schema else "other")


def annotations(root: etree._Element) -> dict[str, tuple[dict, dict]]:
    """By the app's id of each part: its map annotation, and the attributes of the element that refers to it."""
    maps = {
        one.get("ID"): {m.get("K"): m.text or "" for m in one.iter(f"{NS}M")} for one in root.iter(f"{NS}MapAnnotation")
    }
    found = {}
    for ref in root.iterfind(f"{NS}Instrument//{NS}AnnotationRef"):
        pairs, holder = maps[ref.get("ID")], ref.getparent()
        if "ID" in pairs:
            own = dict(holder.attrib) if holder.tag != f"{NS}Instrument" else {}
            for inner in holder.iter(f"{NS}TransmittanceRange"):
                own |= dict(inner.attrib)
            found[pairs["ID"]] = (pairs, own)
    return found


def text_of(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.12g}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def same(told: object, text: str) -> bool:
    if isinstance(told, int | float) and not isinstance(told, bool):
        try:
            return float(text) == pytest.approx(told, rel=1e-9)
        except ValueError:
            return False
    return text_of(told).strip() == text.strip()


def test_units_and_words_of_the_app_become_ours(tesm: Imported) -> None:
    lens = tesm.profile.objective["TESM Objective turret"]["60X PlanApo"]
    assert (lens.working_distance_um, lens.na, lens.immersion) == (150, 1.4, "Oil")
    assert lens.also["ImmersionType"] == "Mineral Oil"
    camera = tesm.profile.detector["Andor EMCCD"]
    assert (camera.type, camera.pixel_width_um, camera.read_noise_e, camera.cut_on_nm) == ("EMCCD", 8, 12, 450)
    laser = tesm.profile.light["TESM 405 laser"]
    assert (laser.source, laser.pulsed, laser.type) == ("Laser", False, None)
    assert laser.also["Type"] == "SemiconductorLaserDiode"
    assert tesm.profile.light["TESM Halogen lamp"].wavelength_nm is None, "the peak of a lamp is not its line"
    assert tesm.profile.stage["TESM PI Piezo Stage"].piezo is True
    assert tesm.profile.stage["TESM Stage plate"].z_repeatability_um is None, "a zero means that nobody knew"
    assert tesm.profile.microscope.type == "Inverted"
    tier = assess(tesm.profile).tiers["tier1"]
    assert tier.missing == []
    assert tier.filled > 200


@needs_standards
def test_import_as_a_command(tmp_path: Path) -> None:
    path = tmp_path / "tesm.toml"
    done = command("import", TESM, "--out", path)
    assert done.returncode == 0, done.stderr
    assert "77 components" in done.stderr
    assert "kept under 'also', for they have no key: AbbeNumber (4)" in done.stderr
    assert "kept under 'app', for drawing only: " in done.stderr
    assert "77 parts" in command("check", path).stdout
    again = command("import", TESM, "--out", path)
    assert (again.returncode, "exists already" in again.stderr) == (2, True)
    (tmp_path / "none.json").write_text("{}")
    assert "no Microscope.json" in command("import", tmp_path / "none.json").stderr


# PIDINST


@needs_standards
def test_pidinst_is_valid_against_its_schemas() -> None:
    profile = load_profile(PROFILE)
    stand = profile.microscope.model_copy(
        update={"owner_contact": "scope@example.org", "owner_id": "https://ror.org/02aj13c28",
                "commissioned": "2021-03-04",                "description": "Widefield", "inventory_number": "I-7"}
    )  # fmt: skip
    part = profile.detector["Camera"].model_copy(update={"pid": "https://doi.org/10.5072/CAM-1"})
    rich = profile.model_copy(update={"microscope": stand, "detector": {"Camera": part}})
    folder = STANDARDS / "pidinst"
    schema = json.loads((folder / "pidinst-schema-1_0.schema.json").read_text(encoding="utf-8"))
    xsd = etree.XMLSchema(etree.parse(folder / "pidinst-schema-1_0.xsd"))
    for one in (profile, rich):
        record = pidinst(one)
        jsonschema.validate(record, schema, format_checker=jsonschema.FormatChecker())
        xsd.assertValid(etree.fromstring(to_xml(record)))
    assert record["identifier"] == {"identifier": "21.T11998/0000-DEMO", "identifierType": "Handle"}
    assert record["relatedIdentifiers"][0]["relatedIdentifier"] == "10.5072/CAM-1"
    assert {"alternateIdentifier": "I-7", "alternateIdentifierType": "InventoryNumber"} in record[
        "alternateIdentifiers"
    ]


def test_pidinst_names_what_the_profile_must_add() -> None:
    with pytest.raises(Misconfigured, match=r"add pid, owner, landing_page to \[microscope\]"):
        pidinst(Profile.model_validate({"microscope": {"name": "A", "manufacturer": "B"}}))
    done = command("pidinst", PROFILE, "--format", "xml")
    assert done.stdout.startswith("<?xml")


def test_check_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[detector.Camera]\npixel_widht_um = 6.5\n")
    done = command("check", path)
    assert done.returncode == 2
    assert "did you mean 'pixel_width_um'" in done.stderr
    good = command("check", PROFILE, "--json")
    assert json.loads(good.stdout)["tier1"]["missing"] == []


def test_a_part_that_has_a_table_is_no_other_part() -> None:
    with pytest.raises(ValueError, match=r"use \[objective"):
        Profile.model_validate({"other": {"X": {"what": "Objective"}}})


# What camera adapters call it

NAMES = {
    "PVCAM": {"Gain": "Gain", "ReadOutRate": "ReadoutRateName", "BitDepth": "BitDepth", "Temperature": "CCDTemperature",
              "SerialNumber": "SerialNumber", "FirmwareVersion": "FirmwareVersion"},
    "Andor": {"Gain": "Pre-Amp-Gain", "Offset": "BaselineClamp", "ReadOutRate": "ReadoutMode",
              "BitDepth": "AD_Converter", "Temperature": "CCDTemperature"},
    "AndorSDK3": {"Gain": "SimplePreAmpGainControl", "ReadOutRate": "PixelReadoutRate", "BitDepth": "PixelEncoding",
                  "Temperature": "SensorTemperature", "SerialNumber": "SerialNumber",
                  "FirmwareVersion": "CameraFirmware"},
    "PCO_Camera": {"ReadOutRate": "PixelRate", "Temperature": "CCDTemperature", "Model": "CameraType",
                   "ElectronicConversionFactor": "Conversion factor*100"},
    "BaslerPylon": {"Gain": "Gain", "Offset": "Offset", "Temperature": "Temperature", "SerialNumber": "SerialNumber"},
    "TSI": {"Gain": "Gain", "ReadOutRate": "ReadoutRate", "Temperature": "TemperatureC", "SerialNumber": "SerialNumber",
            "FirmwareVersion": "FirmwareVersion"},
    "SpinnakerCamera": {"Gain": "Gain", "Offset": "Black Level", "BitDepth": "ADC Bit Depth",
                        "SerialNumber": "Serial Number"},
    "HamamatsuHam": {"Gain": "CONTRAST GAIN", "Offset": "CONVERSION FACTOR OFFSET", "BitDepth": "BIT PER CHANNEL",
                     "ReadOutRate": "READOUT SPEED", "Temperature": "SENSOR TEMPERATURE", "Model": "CameraName",
                     "SerialNumber": "CameraID"},
    "DemoCamera": {"Gain": "Gain", "Offset": "Offset", "BitDepth": "BitDepth", "Temperature": "CCDTemperature RO",
                   "FirmwareVersion": "CameraID"},
    "NobodyKnows": {"Gain": "Gain", "Offset": "Offset", "ReadOutRate": "ReadoutRate", "BitDepth": "BitDepth",
                    "Temperature": "CCDTemperature", "SerialNumber": "SerialNumber",
                    "FirmwareVersion": "FirmwareVersion"},
}  # fmt: skip
VALUES = {"Gain": "2", "Offset": "100", "ReadOutRate": "200 MHz", "BitDepth": "12bit", "Temperature": "-20",
          "Model": "M", "SerialNumber": "0042", "FirmwareVersion": "1.2",
          "ElectronicConversionFactor": "46"}  # fmt: skip
SAID = {"Gain": 2, "Offset": 100, "ReadOutRate": 200.0, "BitDepth": "12bit", "Temperature": -20, "Model": "M",
        "SerialNumber": "0042", "FirmwareVersion": "1.2", "ElectronicConversionFactor": 0.46}  # fmt: skip


@pytest.mark.parametrize("library", NAMES)
def test_each_adapters_own_names_are_read(library: str) -> None:
    names = NAMES[library]
    state = {("Cam", name): Reading(VALUES[meaning], "live", 0) for meaning, name in names.items()}
    found = camera_settings("Cam", library, state, {}) | camera_identity("Cam", library, state, {})
    assert {meaning: found[meaning].value for meaning in names} == {meaning: SAID[meaning] for meaning in names}
    assert all(value.source == "live" for value in found.values())


@pytest.mark.parametrize(
    ("library", "said", "facts"),
    [
        # As such cameras were seen to say it in metadata of Micro-Manager.
        ("Andor", {"Camera": "| iXon Ultra | DU897_BV | 8172 |"},
         {"Model": "iXon Ultra DU897_BV", "SerialNumber": "8172"}),
        ("HamamatsuHam", {"CameraName": "C15440-20UP", "CameraID": "S/N: 500975", "CONVERSION FACTOR COEFF": "0.23"},
         {"Model": "C15440-20UP", "SerialNumber": "500975", "ElectronicConversionFactor": 0.23}),
        ("Andor", {"Camera": "Andor"}, {}),
        ("HamamatsuHam", {"CameraID": "HamamatsuHam DCAM"}, {}),
    ],
)  # fmt: skip
def test_several_facts_in_one_text(library: str, said: dict[str, str], facts: dict[str, object]) -> None:
    state = {("Cam", name): Reading(text, "live", 0) for name, text in said.items()}
    found = camera_identity("Cam", library, state, {})
    assert {name: value.value for name, value in found.items()} == facts


def test_the_profile_extends_the_table_for_facts_and_settings() -> None:
    extra = {"HamamatsuHam": {"SerialNumber": "S/N", "Temperature": "Sensor Temp", "Humidity": "RH"}}
    state = {
        ("C", name): Reading(value, "live", 0) for name, value in (("S/N", "S 1"), ("Sensor Temp", "-9"), ("RH", "40"))
    }
    assert camera_identity("C", "HamamatsuHam", state, extra)["SerialNumber"].value == "S 1"
    settings = camera_settings("C", "HamamatsuHam", state, extra)
    assert (settings["Temperature"].value, settings["Humidity"].value) == (-9, "40")
    assert "SerialNumber" not in settings


def test_the_table_has_every_adapter_that_is_promised() -> None:
    assert {
        "PVCAM",
        "Andor",
        "AndorSDK3",
        "PCO_Camera",
        "BaslerPylon",
        "TSI",
        "SpinnakerCamera",
        "HamamatsuHam",
        "DemoCamera",
        "",
    } <= set(SETTINGS)
