"""The snapshot of real demo runs: true values, where each came from, and what contradicts what."""

import dataclasses
import math
from pathlib import Path

import pytest

from agent.formats.port import Metadata
from agent.snapshot import Profile, Snapshot, load_profile, take
from agent.snapshot.adapters import camera_settings
from agent.snapshot.devices import Devices, Reading, active_shutters
from agent.snapshot.runs import t_step, z_step
from agent.snapshot.values import same
from agent.sources.events import FinishReason
from tests.unit.snapshot.demo_runs import Recorded, of_files, record


def snap(run: Recorded, profile: Profile | None = None) -> Snapshot:
    return take(run.acquisition, profile or run.profile, run.capture, run.metadata)


def profile(folder: Path, text: str) -> Profile:
    path = folder / "instrument.toml"
    path.write_text(text, encoding="utf-8")
    return load_profile(path)


def attributes(snapshot: Snapshot, component: str) -> dict[str, tuple[object, str]]:
    one = next(c for c in snapshot.components if c.id == component)
    return {name: (value.value, value.source) for name, value in one.attributes.items()}


def test_components_follow_the_device_states(tiff_run: Recorded) -> None:
    snapshot = snap(tiff_run)
    dapi, fitc = snapshot.channels
    shared = {
        "Objective:Objective.Nikon-10X-S-Fluor",
        "Detector:Camera",
        "LightSource:White-Light-Shutter",
        "Stage:XY",
        "FocusDrive:Z",
    }
    assert set(dapi.components) == shared | {
        "Filter:Excitation.Chroma-D360",
        "Filter:Emission.Chroma-HQ620",
        "Dichroic:Dichroic.400DCLP",
    }
    assert set(fitc.components) == shared | {
        "Filter:Excitation.Chroma-HQ480",
        "Filter:Emission.Chroma-HQ535",
        "Dichroic:Dichroic.Q505LP",
    }
    assert set(snapshot.in_use) == set(dapi.components) | set(fitc.components)


def test_values_say_where_they_came_from(tiff_run: Recorded) -> None:
    snapshot = snap(tiff_run)
    objective = attributes(snapshot, "Objective:Objective.Nikon-10X-S-Fluor")
    assert objective["LensNA"] == (0.5, "profile")
    assert objective["CatalogNumber"] == ("MRF00100", "profile")
    camera = attributes(snapshot, "Detector:Camera")
    assert camera["ReadOutNoise"] == (2.5, "live")
    assert camera["FirmwareVersion"] == ("V1.0", "live")
    assert camera["SerialNumber"] == ("DEMO-000721", "profile")
    settings = snapshot.channels[0].settings
    assert (settings["Binning"].value, settings["Binning"].source) == ("1x1", "live")
    assert settings["BitDepth"].value == "16bit"
    assert (settings["ReadOutRate"].value, settings["ReadOutRate"].unit) == (452.0, "MHz")
    assert (settings["Exposure"].value, settings["Exposure"].unit) == (10.0, "ms")
    assert settings["ExcitationWavelength"].source == "derived"
    assert settings["Temperature"].taken_at == snapshot.started_at
    # No value without a source, no time without a reading.
    for channel in snapshot.channels:
        for value in channel.settings.values():
            assert (value.taken_at is not None) == (value.source in ("live", "cached")) or value.unit == "ms"


def test_images_planes_and_addresses(tiff_run: Recorded) -> None:
    snapshot = snap(tiff_run)
    assert [image.name for image in snapshot.images] == ["A1", "1"]
    assert [image.size for image in snapshot.images] == [(512, 512, 3, 2, 2)] * 2
    assert [image.blocks[0].file for image in snapshot.images] == ["out_p000.ome.tif", "out_p001.ome.tif"]
    assert snapshot.images[1].stage.x_um == pytest.approx(100, abs=0.01)
    planes = snapshot.images[1].planes
    assert len(planes) == 12
    assert list(planes.the_z) == [0, 1, 2] * 4
    assert list(planes.the_c) == ([0] * 3 + [1] * 3) * 2
    assert list(planes.z_um[:3]) == pytest.approx([4, 5, 6], abs=0.01)
    assert planes.delta_s[0] > snapshot.images[0].planes.delta_s[0]
    assert snapshot.actual.frames == 24
    assert snapshot.actual.shape == [2, 2, 2, 3]


def test_zarr_positions_keep_their_order_and_planes(zarr_run: Recorded) -> None:
    snapshot = snap(zarr_run)
    assert [image.name for image in snapshot.images] == ["A1", "1"]
    assert snapshot.images[1].planes.x_um[0] == pytest.approx(100, abs=0.01)
    assert snapshot.skeleton is not None
    assert snapshot.skeleton.index(b"A1") < snapshot.skeleton.index(b'out.ome.zarr/1"')


def test_led_lines_behind_a_logical_shutter(tmp_path: Path) -> None:
    sequence = {
        "channels": [
            {"config": "DAPI", "group": "Channel-Multiband", "exposure": 5},
            {"config": "FITC", "group": "Channel-Multiband", "exposure": 5},
        ]
    }
    snapshot = snap(record(tmp_path / "run", "", sequence))
    dapi, fitc = snapshot.channels
    assert "LightSource:LED.385nm" in dapi.components
    assert "LightSource:LED.470nm" in fitc.components
    assert not any("White-Light" in i for c in snapshot.channels for i in c.components)
    assert fitc.settings["Wavelength"].value == 470.0
    assert fitc.settings["ExcitationWavelength"].value == 470.0
    # A filter of four bands says nothing about the wavelength that was seen.
    assert "EmissionWavelength" not in fitc.settings
    assert not any(i.startswith("Filter:Excitation") for i in fitc.components)


def test_presets_that_drive_different_devices_in_a_hardware_sequence(tmp_path: Path) -> None:
    """Z steps are triggered: frames come without property values, the state of the channel holds all the same."""
    sequence = {
        "channels": [{"config": "FITC", "exposure": 5}, {"config": "Rhodamine", "exposure": 5}],
        "z_plan": {"range": 2, "step": 1},
        "axis_order": "tpcz",
    }
    run = record(tmp_path / "run", "", sequence, [["Z", "UseSequences", "Yes"]])
    assert any(run.capture.frames.camera_metadata), "the run was not hardware sequenced"
    snapshot = snap(run)
    assert "Dichroic:Dichroic.Q505LP" in snapshot.channels[0].components
    assert "Dichroic:Dichroic.Q585LP" in snapshot.channels[1].components
    assert "Filter:Emission.Chroma-HQ700" in snapshot.channels[1].components


def test_two_cameras_are_two_channels(tmp_path: Path) -> None:
    cameras = [
        ["Camera2", "DemoCamera", "DCam", ""],
        ["Both", "Utilities", "Multi Camera", ""],
        ["Camera2", "PixelType", "16bit"],
        ["Both", "Physical Camera 1", "Camera"],
        ["Both", "Physical Camera 2", "Camera2"],
        ["Core", "Camera", "Both"],
    ]
    run = record(tmp_path / "run", "", {"channels": [{"config": "DAPI"}, {"config": "FITC"}]}, cameras)
    snapshot = snap(run)
    assert [c.name for c in snapshot.channels] == ["DAPI Camera", "DAPI Camera2", "FITC Camera", "FITC Camera2"]
    assert "Detector:Camera2" in snapshot.channels[1].components
    assert "Detector:Camera" in snapshot.channels[2].components
    assert list(snapshot.images[0].planes.the_c) == [0, 1, 2, 3]
    assert snapshot.images[0].size == (512, 512, 1, 4, 1)
    assert not any(c.device == "Both" for c in snapshot.components)


def test_labels_that_look_the_same_as_identifiers(tiff_run: Recorded, tmp_path: Path) -> None:
    text = '[objective.T."10x/0.3"]\nna = 0.3\n[objective.T."10x 0.3"]\nna = 0.3\n'
    ids = [c.id for c in snap(tiff_run, profile(tmp_path, text)).components]
    assert len(ids) == len(set(ids))


def test_unknown_stays_unknown_without_a_profile(tiff_run: Recorded) -> None:
    snapshot = snap(tiff_run, Profile())
    assert snapshot.microscope == {}
    assert [c.id for c in snapshot.components] == ["Detector:Camera", "Objective:Objective.Nikon-10X-S-Fluor"]
    objective = attributes(snapshot, "Objective:Objective.Nikon-10X-S-Fluor")
    assert objective == {"Model": ("Nikon 10X S Fluor", "live")}
    settings = snapshot.channels[0].settings
    assert settings["Binning"].value == "1x1"
    assert settings["Dichroic.Label"].value == "400DCLP"
    assert "ReadOutRate" not in settings
    assert "AcquisitionMode" not in settings
    assert snapshot.environment == {}


def test_conflicts_keep_both_values(tiff_run: Recorded, tmp_path: Path) -> None:
    wrong = profile(
        tmp_path,
        """
        [microscope]
        intermediate_magnification = 1
        [objective.Objective."Nikon 10X S Fluor"]
        magnification = 40
        [detector.Camera]
        pixel_width_um = 6.5
        """,
    )
    snapshot = snap(tiff_run, wrong)
    objective = next(c for c in snapshot.components if c.kind == "Objective")
    magnification = objective.attributes["NominalMagnification"]
    assert magnification.value == 40
    assert magnification.conflict == "derived says 10.0"
    size = snapshot.pixel_size["PhysicalSizeX"]
    assert (size.value, size.source) == (1.0, "live")
    assert "0.1625 um" in (size.conflict or "")
    assert len(snapshot.conflicts) == 2


def test_pixel_size_is_that_of_the_binned_pixel(tmp_path: Path) -> None:
    run = record(tmp_path / "run", "", {"channels": [{"config": "DAPI", "exposure": 5}]}, [["Camera", "Binning", "2"]])
    snapshot = snap(run)
    assert snapshot.pixel_size["PhysicalSizeX"].value == 2.0
    assert snapshot.channels[0].settings["Binning"].value == "2x2"
    assert snapshot.conflicts == ()
    assert snapshot.images[0].size[:2] == (256, 256)


def test_optics_give_a_size_that_was_never_calibrated(tmp_path: Path) -> None:
    run = record(
        tmp_path / "run",
        "",
        {"channels": [{"config": "DAPI", "exposure": 5}]},
        [["Objective", "Label", "Objective-2"]],
    )
    known = profile(
        tmp_path,
        """
        microscope = {intermediate_magnification = 1.5}
        detector.Camera.pixel_width_um = 6.0
        objective.Objective."Objective-2" = {magnification = 60}
        """,
    )
    size = snap(run, known).pixel_size
    assert size["PhysicalSizeX"].value == pytest.approx(6.0 / 90, abs=1e-6)
    assert size["PhysicalSizeX"].source == "derived"
    assert "never measured" in str(size["Status"].value)
    assert "PhysicalSizeX" not in snap(run, Profile()).pixel_size


def test_sensors_of_the_profile_become_the_environment(tiff_run: Recorded, tmp_path: Path) -> None:
    text = '[environment.Camera]\ntemperature_c = {prop = "CCDTemperature RO"}\nco2_percent = 5\n'
    snapshot = snap(tiff_run, profile(tmp_path, text))
    assert snapshot.environment["Temperature"].source == "live"
    # What the profile wishes for is no measurement.
    assert set(snapshot.environment) == {"Temperature"}


def test_session_from_the_users_own_marks(tiff_run: Recorded) -> None:
    session = snap(tiff_run).session
    assert session.user.value == "Ada Lovelace"
    assert session.sample.value == "slide 7"
    assert session.project is None
    assert session.user.source == "session"


def test_frames_that_never_reached_the_files_are_noted(tiff_run: Recorded) -> None:
    ome = tiff_run.metadata.ome
    short = []
    for image in ome.images:
        planes = [plane for plane in image.pixels.planes if plane.the_t == 0]
        short.append(
            image.model_copy(update={"pixels": image.pixels.model_copy(update={"size_t": 1, "planes": planes})})
        )
    metadata = dataclasses.replace(tiff_run.metadata, ome=ome.model_copy(update={"images": short}))
    snapshot = take(tiff_run.acquisition, tiff_run.profile, tiff_run.capture, metadata)
    assert [len(image.planes) for image in snapshot.images] == [6, 6]
    assert "A1: 6 frames of the run have no place in the files" in snapshot.notes


def test_same_arguments_same_snapshot(tiff_run: Recorded) -> None:
    assert snap(tiff_run) == snap(tiff_run)


def test_a_run_without_a_frame(tiff_run: Recorded) -> None:
    from agent.sources.capture import Frames

    capture = dataclasses.replace(tiff_run.capture, frames=Frames(), reason=FinishReason.CANCELED)
    snapshot = take(tiff_run.acquisition, tiff_run.profile, capture, Metadata())
    assert snapshot.images == ()
    assert snapshot.actual.frames == 0
    assert "no frame reached the hook" in snapshot.notes
    assert snapshot.microscope["Model"].value == "Eclipse Ti2-E"


def test_files_alone(tiff_run: Recorded) -> None:
    acquisition, metadata = of_files(Path(tiff_run.acquisition.files[0].path))
    snapshot = take(acquisition, tiff_run.profile, None, metadata)
    assert [image.name for image in snapshot.images] == ["A1", "1"]
    assert [c.name for c in snapshot.channels] == ["DAPI", "FITC"]
    assert snapshot.in_use == ()
    assert snapshot.device_state == {}
    assert snapshot.pixel_size["PhysicalSizeX"].source == "file"
    assert snapshot.channels[0].settings["ContrastMethod"].source == "profile"
    assert math.isclose(snapshot.images[0].planes.exposure_s[0], 0.01)


def test_z_and_time_steps() -> None:
    assert z_step({"z_plan": {"relative": [-1, 0, 1]}}) == 1
    assert z_step({"z_plan": {"relative": [0, 1, 3]}}) is None
    assert z_step({"z_plan": {"range": 4, "step": 0.5}}) == 0.5
    assert z_step({}) is None
    assert t_step({"time_plan": {"interval": 2.5, "loops": 3}}) == 2.5
    assert t_step({"time_plan": {"interval": 0, "loops": 3}}) is None


@pytest.mark.parametrize(
    ("library", "properties", "expected"),
    [
        ("PVCAM", {"Gain": "2", "MultiplierGain": "300", "ReadoutRateName": "20MHz 16bit"},
         {"Gain": 2, "AmplificationGain": 300, "ReadOutRate": 20.0}),
        ("Andor", {"Pre-Amp-Gain": "2.4", "Gain": "150", "Output_Amplifier": "EM"},
         {"Gain": 2.4, "AmplificationGain": 150, "ReadoutMode": "EM"}),
        ("AndorSDK3", {"PixelReadoutRate": "200 MHz - fastest readout", "PixelEncoding": "Mono12"},
         {"ReadOutRate": 200.0, "BitDepth": "12bit"}),
        ("TSI", {"TemperatureC": "-10.5", "Binning": "2x2"}, {"Temperature": -10.5, "Binning": "2x2"}),
        ("Unheard", {"Gain": "", "Binning": "4"}, {"Binning": "4x4"}),
    ],
)  # fmt: skip
def test_adapters_call_the_same_thing_differently(
    library: str, properties: dict[str, str], expected: dict[str, object]
) -> None:
    state = {("Cam", name): Reading(value, "live", 0) for name, value in properties.items()}
    found = camera_settings("Cam", library, state, {})
    assert {name: value.value for name, value in found.items()} == expected


def test_the_profile_adds_property_names() -> None:
    state = {("Cam", "HV"): Reading("650", "live", 0)}
    found = camera_settings("Cam", "Odd", state, {"Odd": {"Gain": "HV"}})
    assert found["Gain"].value == 650


def test_shutters_behind_shutters() -> None:
    state = {
        ("Core", "Shutter"): Reading("Multi", "live", 0),
        ("Multi", "Physical Shutter 1"): Reading("Lamp", "live", 0),
        ("Multi", "Physical Shutter 2"): Reading("Undefined", "live", 0),
        ("Lamp", "State Device"): Reading("Wheel", "live", 0),
    }
    assert active_shutters(state) == {"Multi", "Lamp", "Wheel"}


def test_label_and_state_follow_each_other() -> None:
    devices = Devices(labels={"Turret": ("A", "B")})
    state = {}
    devices.set(state, ("Turret", "State"), Reading("1", "cached", 0))
    assert state[("Turret", "Label")].value == "B"
    devices.set(state, ("Turret", "Label"), Reading("A", "cached", 0))
    assert state[("Turret", "State")].value == "0"


def test_a_rounded_number_is_no_contradiction() -> None:
    assert same(12.35, 12.3456)
    assert same("12.3456", 12.35)
    assert not same(12.36, 12.3456)
    assert not same(0.6, 0.55)
    assert not same(40, 63)
    assert not same(1.4, 1.45)
