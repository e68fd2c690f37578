"""A stand-in for pywin32's module win32service: one service, its rules, and Windows' error numbers."""

# ruff: noqa: N802 -- names of Windows and pywin32

from __future__ import annotations

from typing import Any


class WinError(Exception):
    """As pywintypes.error."""

    def __init__(self, winerror: int, strerror: str) -> None:
        super().__init__(winerror, strerror)
        self.winerror, self.strerror = winerror, strerror


class Win32Service:
    SC_MANAGER_ALL_ACCESS = SERVICE_ALL_ACCESS = 0xF
    SERVICE_QUERY_CONFIG = SERVICE_START = SERVICE_STOP = SERVICE_QUERY_STATUS = 1
    SERVICE_WIN32_OWN_PROCESS, SERVICE_AUTO_START, SERVICE_ERROR_NORMAL = 0x10, 2, 1
    SERVICE_CONFIG_DESCRIPTION, SERVICE_CONFIG_FAILURE_ACTIONS = 1, 2
    SERVICE_CONFIG_DELAYED_AUTO_START_INFO, SERVICE_CONFIG_FAILURE_ACTIONS_FLAG = 3, 4
    SC_ACTION_RESTART, SERVICE_CONTROL_STOP = 1, 1
    SERVICE_STOPPED, SERVICE_STOP_PENDING, SERVICE_RUNNING = 1, 3, 4

    def __init__(self, *, administrator: bool = True) -> None:
        self.administrator = administrator
        self.service: dict[str, Any] | None = None
        self.details: dict[int, Any] = {}
        self.running = False
        self.started: list[str] = []
        self.open = 0
        self.refuse_start: set[str] = set()
        self.never_stops = False

    # -- handles: each that is opened must be closed --

    def OpenSCManager(self, _machine: None, _database: None, _access: int) -> str:
        if not self.administrator:
            raise WinError(5, "Access is denied.")
        self.open += 1
        return "manager"

    def OpenService(self, manager: str, name: str, _access: int) -> str:
        assert (manager, name) == ("manager", "ScopeAgent")
        if self.service is None:
            raise WinError(1060, "The specified service does not exist as an installed service.")
        self.open += 1
        return "service"

    def CloseServiceHandle(self, _handle: str) -> None:
        self.open -= 1

    # -- one service --

    def CreateService(self, _manager, name, display, _access, kind, start, _error, command, *who) -> str:
        assert who[:3] == (None, 0, None), "no load order group, no tag, no dependencies"
        if self.service is not None:
            raise WinError(1073, "The specified service already exists.")
        self.service = {"display": display, "command": command, "account": who[3], "password": who[4], "start": start}
        self.open += 1
        return "service"

    def ChangeServiceConfig(self, _handle, _kind, start, _error, command, *rest) -> None:
        account, password, display = rest[3:]
        # None leaves what there is.
        account, password = (
            account or self.service["account"],
            password or (None if account else self.service["password"]),
        )
        self.service = {
            "display": display,
            "command": command,
            "account": account,
            "password": password,
            "start": start,
        }

    def ChangeServiceConfig2(self, _handle: str, level: int, value: object) -> None:
        self.details[level] = value

    def QueryServiceConfig(self, _handle: str) -> tuple:
        return (
            self.SERVICE_WIN32_OWN_PROCESS,
            self.service["start"],
            1,
            self.service["command"],
            "",
            0,
            (),
            self.service["account"],
            "",
        )

    def QueryServiceStatus(self, _handle: str) -> tuple:
        return (self.SERVICE_WIN32_OWN_PROCESS, self.SERVICE_RUNNING if self.running else self.SERVICE_STOPPED, 0)

    def StartService(self, _handle: str, _arguments: None) -> None:
        if self.running:
            raise WinError(1056, "An instance of the service is already running.")
        self.started.append(self.service["command"])
        if self.service["command"] in self.refuse_start:
            raise WinError(1053, "The service did not respond to the start or control request in a timely fashion.")
        self.running = True

    def ControlService(self, _handle: str, control: int) -> None:
        assert control == self.SERVICE_CONTROL_STOP
        if not self.running:
            raise WinError(1062, "The service has not been started.")
        self.running = self.never_stops

    def DeleteService(self, _handle: str) -> None:
        if self.service.get("deleting"):
            raise WinError(1072, "The specified service has been marked for deletion.")
        self.service = None
