r"""The `\\?\` spelling of Windows paths, as pure text; and Windows' answers that are no readiness."""

from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.identity import identity
from agent.sources.longpaths import extended, plain, reaching
from agent.sources.names import Names
from agent.sources.settings import WatchSettings
from agent.sources.walk import is_mount_point
from agent.sources.writers import refused


@pytest.mark.parametrize(
    ("path", "spelled"),
    [
        ("C:\\data\\a.tif", "\\\\?\\C:\\data\\a.tif"),
        ("c:/data/./run\\..\\a.tif", "\\\\?\\c:\\data\\a.tif"),
        ("C:\\", "\\\\?\\C:\\"),
        ("\\\\nas\\share\\run\\a.tif", "\\\\?\\UNC\\nas\\share\\run\\a.tif"),
        ("\\\\nas\\share", "\\\\?\\UNC\\nas\\share\\"),
        ("//nas/share/run", "\\\\?\\UNC\\nas\\share\\run"),
        ("\\\\?\\C:\\already", "\\\\?\\C:\\already"),
        ("\\\\?\\UNC\\nas\\share\\x", "\\\\?\\UNC\\nas\\share\\x"),
        ("\\\\.\\pipe\\x", "\\\\.\\pipe\\x"),
        ("relative\\a.tif", "relative\\a.tif"),
        ("C:relative.tif", "C:relative.tif"),
    ],
)
def test_windows_paths_are_spelled_for_any_length(path, spelled):
    assert extended(path) == spelled
    assert extended(extended(path)) == spelled


_LEVEL = st.text(st.characters(blacklist_characters='\\/:<>"|?*', min_codepoint=33), min_size=1, max_size=60).filter(
    lambda level: level.strip(". ") == level
)


@settings(deadline=None)
@given(st.sampled_from(["C:\\", "\\\\nas\\share\\"]), st.lists(_LEVEL, min_size=1, max_size=12))
def test_a_long_path_names_the_same_file_and_comes_back(anchor, levels):
    path = anchor + "\\".join(levels)
    spelled = extended(path)
    assert plain(spelled) == path
    assert PureWindowsPath(spelled).name == levels[-1]
    assert PureWindowsPath(spelled).is_relative_to(extended(anchor + levels[0]))


def test_here_paths_reach_as_they_are(tmp_path):
    if Path("/").drive or reaching("C:\\x") != "C:\\x":
        assert reaching(str(tmp_path)) == extended(str(tmp_path))
    deep = tmp_path.joinpath(*["folder" * 8] * 8)
    Path(reaching(str(deep))).mkdir(parents=True)
    (Path(reaching(str(deep))) / "a.tif").write_bytes(b"1")
    assert len(str(deep)) > 300
    assert identity(reaching(str(deep)) + "/a.tif").size == 1


def test_a_file_that_windows_refuses_is_in_use_gone_or_unknown(tmp_path):
    assert refused(32, tmp_path) is True
    assert refused(33, tmp_path) is True
    assert refused(5, tmp_path) is None
    for error in (2, 3):
        with pytest.raises(FileNotFoundError):
            refused(error, tmp_path)


def test_a_junction_is_told_from_other_folders(tmp_path):
    assert is_mount_point(SimpleNamespace(st_file_attributes=0x410, st_reparse_tag=0xA0000003))
    assert not is_mount_point(SimpleNamespace(st_file_attributes=0x410, st_reparse_tag=0x9000001A))  # a cloud folder
    assert not is_mount_point(SimpleNamespace(st_file_attributes=0x10, st_reparse_tag=0))
    assert not is_mount_point(tmp_path.stat())


def test_patterns_know_one_name_in_two_normal_forms_and_any_case(tmp_path):
    composed, decomposed = "\u00e4.tif", "a\u0308.TIF"
    for pattern, name in ((composed, decomposed), (decomposed, composed)):
        assert Names(WatchSettings(path=tmp_path, include=(pattern,))).path(name)
        assert not Names(WatchSettings(path=tmp_path, exclude=(pattern,))).path(name)
        assert not Names(WatchSettings(path=tmp_path, exclude=(f"x/{pattern}",))).path(f"X/{name}")
