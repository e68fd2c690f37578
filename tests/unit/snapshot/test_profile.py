"""The instrument profile: the demo's is complete, mistakes are named with their remedy."""

from pathlib import Path

import pytest

from agent.errors import Misconfigured
from agent.snapshot import Profile, load_profile
from tests.unit.snapshot.demo_runs import PROFILE


def load(folder: Path, text: str) -> Profile:
    path = folder / "instrument.toml"
    path.write_text(text, encoding="utf-8")
    return load_profile(path)


def test_no_profile_is_an_empty_one() -> None:
    assert load_profile(None) == Profile()
    assert load_profile(None).parts() == []


def test_demo_profile_names_every_position_of_the_demo_configuration() -> None:
    import mm_test_adapters

    cfg = (Path(mm_test_adapters.device_adapter_path()) / "MMConfig_demo.cfg").read_text()
    labels: dict[str, set[str]] = {}
    for line in cfg.splitlines():
        if line.startswith("Label,"):
            _, device, _, label = line.split(",")
            labels.setdefault(device, set()).add(label)
    known = {(device, label) for device, label, _ in load_profile(PROFILE).parts()}
    real = {
        (device, label)
        for device, names in labels.items()
        for label in names
        if not label.startswith(("State-", "Objective-")) and label not in ("Empty", "Closed")
    }
    assert real <= known
    assert {device for device, label in known if label is None} == {
        "Camera",
        "White Light Shutter",
        "XY",
        "Z",
        "Autofocus",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[microscop]\nmodel = 'x'", r"unknown key 'microscop': did you mean 'microscope'\?"),
        (
            "[objective.Turret.'10x']\nmagnificaton = 10",
            r"objective.Turret.10x: unknown key 'magnificaton': did you mean 'magnification'\?",
        ),
        ("[detector.Camera]\nserial_number = {property = 'X'}", r"did you mean 'prop'\?"),
        ("[objective.T.'10x']\nimmersion = 'Wet'", r"objective.T.10x.immersion: .*'Air'.*, not 'Wet'"),
        ("[objective.T.'10x']\nna = 'big'", r"objective.T.10x.na"),
        ("[light.L]\nsource = 'Arc'\ntype = 'Halogen'", r"'Halogen' is no Arc type: use one of Hg"),
        ("[light.L]\nmodel = 'x'", r"light.L.source: Field required"),
        ("[microscope\n", r"is not valid TOML"),
    ],
)
def test_mistakes_are_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(Misconfigured, match=message) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert "instrument.toml" in str(caught.value)


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_profile(tmp_path / "nowhere.toml")


def test_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Profile().microscope = None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[objective.T."10x"]\nna = 0.3\nmagnification = -10', "objective.T.10x.magnification: -10 cannot be"),
        ('[objective.T."10x"]\nna = 0', "objective.T.10x.na: 0 cannot be"),
        ('[objective.T."60x"]\nna = 14', "objective.T.60x.na: 14 is more than any objective has"),
        ('[objective.T."60x"]\nna = 1.45\nimmersion = "Air"', "objective.T.60x.na: 1.45 is impossible in air"),
        ("[detector.Cam]\npixel_width_um = nan", "detector.Cam.pixel_width_um: nan is no number"),
        ("[detector.Cam]\nread_noise_e = inf", "detector.Cam.read_noise_e: inf is no number"),
        ('[light.L]\nsource = "Laser"\nwavelength_nm = 0', "light.L.wavelength_nm: 0 cannot be"),
        (
            '[filter.W."a"]\nrole = "emission"\nbands_nm = [[550, 500]]',
            "filter.W.a.bands_nm: [550.0, 500.0] is no band",
        ),
        ("[channel.GFP]\nemission_nm = -525", "channel.GFP.emission_nm: -525 cannot be"),
    ],
)
def test_what_no_instrument_has_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "profile.toml"
    path.write_text(text)
    with pytest.raises(Misconfigured) as refused:
        load_profile(path)
    assert said in str(refused.value)


def test_what_may_be_negative_or_zero_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "profile.toml"
    path.write_text("[detector.Cam]\nread_noise_e = 0\n[detector.Cam.settings]\ntemperature_c = -40\noffset = -2\n")
    assert load_profile(path).detector["Cam"].settings.temperature_c == -40
