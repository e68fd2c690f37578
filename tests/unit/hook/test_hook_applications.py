"""The applications that people use, with their windows (on a virtual screen), and the hook installed beside them.

They are not among the test requirements (1.1 GB): `pip install napari-micromanager pymmcore-gui PyQt6 msgspec
"mm-test-adapters<75"` into an environment of their own, whose python SCOPE_AGENT_GUI_PYTHON names, and xvfb where
there is no screen.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.hook.install import install, uninstall
from agent.sources.events import FinishReason, RunFinished
from agent.sources.journal import JournalSource

pytestmark = pytest.mark.slow
PYTHON = os.environ.get("SCOPE_AGENT_GUI_PYTHON", "")

_BEGIN = {
    "pymmcore-gui": """
from pymmcore_gui import create_mmgui
window = create_mmgui(mm_config="MMConfig_demo.cfg", install_sentry=False, exec_app=False)
""",
    "napari-micromanager": """
import napari
from napari_micromanager.main_window import MainWindow
viewer = napari.Viewer()
window = MainWindow(viewer)
viewer.window.add_dock_widget(window)
""",
}
_RUN = """
import useq
from pymmcore_plus import CMMCorePlus
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication
core, app = CMMCorePlus.instance(), QApplication.instance()
core.loadSystemConfiguration("MMConfig_demo.cfg")
core.mda.events.sequenceFinished.connect(lambda *_: QTimer.singleShot(500, app.quit))
run = useq.MDASequence(channels=["DAPI", "FITC"], time_plan={"interval": 0, "loops": 4})
QTimer.singleShot(500, lambda: core.run_mda(run))
app.exec()
print(type(core.mda.events).__name__)
"""


@pytest.mark.timeout(300)
@pytest.mark.skipif(not PYTHON, reason="SCOPE_AGENT_GUI_PYTHON does not name an environment with the applications")
@pytest.mark.parametrize("application", sorted(_BEGIN))
def test_an_application_is_journalled_without_a_change_to_it(application, tmp_path):
    screen = ["xvfb-run", "-a"] if sys.platform == "linux" and "DISPLAY" not in os.environ else []
    if screen and shutil.which("xvfb-run") is None:
        pytest.skip("xvfb is not installed, and there is no screen")
    install(Path(PYTHON), tmp_path)
    try:
        done = subprocess.run(
            [*screen, PYTHON, "-W", "ignore", "-c", _BEGIN[application] + _RUN],
            env=os.environ | {"QT_API": "pyqt6"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    finally:
        uninstall(Path(PYTHON))
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ["QMDASignaler"]), done.stderr
    (end,) = (one for one in JournalSource(tmp_path).poll() if isinstance(one, RunFinished))
    assert (end.reason, end.frames, end.lost) == (FinishReason.COMPLETED, 8, 0)
