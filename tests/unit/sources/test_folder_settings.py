import pytest
from pydantic import ValidationError

from agent.sources.settings import WatchSettings


def test_unknown_keys_and_impossible_values_are_refused(tmp_path):
    for bad in ({"pattern": "*"}, {"mode": "both"}, {"poll_s": 0}, {"quiet_s": -1}):
        with pytest.raises(ValidationError):
            WatchSettings(path=tmp_path, **bad)
    with pytest.raises(ValidationError):
        WatchSettings(path=tmp_path).poll_s = 3


def test_auto_polls_only_a_network_share(tmp_path, monkeypatch):
    from agent.sources.folder import FolderSource

    for share, polled in ((True, True), (False, False), (None, False)):
        monkeypatch.setattr("agent.sources.folder.is_network", lambda _, share=share: share)
        assert FolderSource(WatchSettings(path=tmp_path)).polled is polled
    assert FolderSource(WatchSettings(path=tmp_path, mode="poll")).polled
