"""The process that Windows starts: the daemon, under the service control manager.

No pythonservice.exe: the interpreter itself connects, so nothing has to be copied beside Python's DLL.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from agent.errors import ScopeAgentError
from agent.service.plan import NAME

log = logging.getLogger(__name__)


class Body:
    """What runs as the service. `stop` may be called by the control handler at any time, also before `run`."""

    def __init__(self, config: Path) -> None:
        from agent.config import load
        from agent.daemon import Daemon
        from agent.lock import prepare_folder

        self.settings = load(config)
        prepare_folder(self.settings.state)
        self._daemon = Daemon(self.settings, path=config)

    def run(self) -> None:
        """Until `stop`."""
        from agent.daemon import lower_priority
        from agent.logs import set_up

        set_up(self.settings.state / "log", self.settings.log, terminal=False)
        lower_priority()
        self._daemon.run()

    def stop(self) -> None:
        self._daemon.stop()


def service_class(config: Path, framework: Any, service: Any, report: Any, leave: Any = os._exit) -> type:
    """The class that pywin32 hosts; the modules are arguments so that a test can stand in for Windows."""
    from agent.service.event_log import EventLogHandler

    class Service(framework.ServiceFramework):  # type: ignore[misc]
        _svc_name_ = NAME
        _body: Body | None = None
        _stopped = False

        def SvcDoRun(self) -> None:  # noqa: N802 -- named so by pywin32
            logging.getLogger().addHandler(EventLogHandler(report))
            try:
                self._body = Body(config)
                if self._stopped:
                    return
                self._body.run()
            except (ScopeAgentError, OSError) as error:
                log.error("%s", error, extra={"action": "service.failed"})
                # Without having said that it stopped: Windows then restarts it as the recovery settings say.
                leave(getattr(error, "exit_code", 1))
            except Exception:  # the last frame of the process: whatever it is, it is told and the service restarted
                log.exception("the daemon failed", extra={"action": "service.failed"})
                leave(1)

        def SvcStop(self) -> None:  # noqa: N802
            self.ReportServiceStatus(service.SERVICE_STOP_PENDING, waitHint=10_000)
            self._stopped = True
            if self._body is not None:
                self._body.stop()

        SvcShutdown = SvcStop

    return Service


def host(config: str) -> None:
    """Connect to the service control manager and return when the service ended. Windows only."""
    import servicemanager
    import win32evtlogutil
    import win32service
    import win32serviceutil

    made = service_class(Path(config), win32serviceutil, win32service, win32evtlogutil.ReportEvent)
    servicemanager.Initialize()
    servicemanager.PrepareToHostSingle(made)
    servicemanager.StartServiceCtrlDispatcher()
