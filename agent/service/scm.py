"""Windows' service control manager, through pywin32; all its errors become ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

from agent.errors import Misconfigured, Retryable, ScopeAgentError
from agent.service.plan import DESCRIPTION, DISPLAY, NAME, Plan

_MISSING, _DENIED, _DELETING, _RUNS, _RUNS_NOT, _UNKNOWN = 1060, 5, 1072, 1056, 1062, 124
_RESTART_MS = (5_000, 30_000, 60_000)
"""Pauses before the first, second and every later restart."""
_FORGET_S = 86_400
"""After a day without failure the next one counts as the first again."""


class Scm(Protocol):
    """What install, upgrade and uninstall need of a service manager."""

    def command(self) -> str | None:
        """The registered command line; None when there is no such service."""
        ...

    def account(self) -> str | None:
        """Whom it runs as; None when there is no such service."""
        ...

    def register(self, plan: Plan) -> None:
        """Create the service, or change it to be as the plan says."""
        ...

    def start(self) -> None: ...

    def stop(self) -> None:
        """Ask it to stop; no error when it does not run."""
        ...

    def is_stopped(self) -> bool: ...

    def remove(self) -> None:
        """No error when it is not there."""
        ...


class WindowsScm:
    """`service` is pywin32's module win32service, or a stand-in for it."""

    def __init__(self, service: Any = None) -> None:
        self._api = service or _api()

    def command(self) -> str | None:
        with self._opened(self._api.SERVICE_QUERY_CONFIG) as handle:
            return None if handle is None else str(self._api.QueryServiceConfig(handle)[3])

    def account(self) -> str | None:
        with self._opened(self._api.SERVICE_QUERY_CONFIG) as handle:
            return None if handle is None else str(self._api.QueryServiceConfig(handle)[7])

    def register(self, plan: Plan) -> None:
        api = self._api
        known = self.command() is not None
        kind = (api.SERVICE_WIN32_OWN_PROCESS, api.SERVICE_AUTO_START, api.SERVICE_ERROR_NORMAL, plan.command)
        # Naming an account again without its password would lose the password.
        same = plan.password is None and plan.account == self.account()
        who = (None, 0, None, None if same else plan.account, plan.password)
        with self._manager() as manager:
            if not known:
                api.CloseServiceHandle(
                    api.CreateService(manager, NAME, DISPLAY, api.SERVICE_ALL_ACCESS, *kind, *who),
                )
        with self._opened(api.SERVICE_ALL_ACCESS) as handle:
            if known:
                api.ChangeServiceConfig(handle, *kind, *who, DISPLAY)
            self._details(handle)

    def _details(self, handle: Any) -> None:
        api = self._api
        restarts = [(api.SC_ACTION_RESTART, pause) for pause in _RESTART_MS]
        failure = {"ResetPeriod": _FORGET_S, "RebootMsg": "", "Command": "", "Actions": restarts}
        api.ChangeServiceConfig2(handle, api.SERVICE_CONFIG_DESCRIPTION, DESCRIPTION)
        api.ChangeServiceConfig2(handle, api.SERVICE_CONFIG_FAILURE_ACTIONS, failure)
        # An end with an error counts as a failure, too, not only a crash; and the start comes after the network and
        # the other services of the boot. Managers that do not know these (wine) do without.
        for level in (api.SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, api.SERVICE_CONFIG_DELAYED_AUTO_START_INFO):
            with _but(_UNKNOWN):
                api.ChangeServiceConfig2(handle, level, True)

    def start(self) -> None:
        with self._opened(self._api.SERVICE_START) as handle, _but(_RUNS):
            if handle is None:
                raise Misconfigured("the service is not installed: run 'scope-agent service install'")
            self._api.StartService(handle, None)

    def stop(self) -> None:
        with self._opened(self._api.SERVICE_STOP) as handle, _but(_RUNS_NOT):
            if handle is not None:
                self._api.ControlService(handle, self._api.SERVICE_CONTROL_STOP)

    def is_stopped(self) -> bool:
        with self._opened(self._api.SERVICE_QUERY_STATUS) as handle:
            return handle is None or self._api.QueryServiceStatus(handle)[1] == self._api.SERVICE_STOPPED

    def remove(self) -> None:
        with self._opened(self._api.SERVICE_ALL_ACCESS) as handle, _but(_DELETING):
            if handle is not None:
                self._api.DeleteService(handle)

    @contextlib.contextmanager
    def _manager(self) -> Iterator[Any]:
        with _translated():
            manager = self._api.OpenSCManager(None, None, self._api.SC_MANAGER_ALL_ACCESS)
            try:
                yield manager
            finally:
                self._api.CloseServiceHandle(manager)

    @contextlib.contextmanager
    def _opened(self, access: int) -> Iterator[Any]:
        """A handle of the service; None when there is no such service."""
        with self._manager() as manager:
            handle = None
            with _but(_MISSING):
                handle = self._api.OpenService(manager, NAME, access)
            try:
                yield handle
            finally:
                if handle is not None:
                    self._api.CloseServiceHandle(handle)


def _api() -> Any:
    try:
        import win32service
    except ImportError as error:
        raise Misconfigured("pywin32 is missing: install scope-agent from its bundle") from error
    return win32service


@contextlib.contextmanager
def _but(expected: int) -> Iterator[None]:
    """Let one error code pass."""
    try:
        yield
    except ScopeAgentError:
        raise
    except Exception as error:  # pywintypes.error cannot be named where pywin32 is not
        if getattr(error, "winerror", None) != expected:
            raise


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ScopeAgentError:
        raise
    except Exception as error:  # pywintypes.error cannot be named where pywin32 is not
        code = getattr(error, "winerror", None)
        if code is None:
            raise
        if code == _DENIED:
            raise Misconfigured("Windows refuses: run this as administrator") from error
        if code == _DELETING:
            raise Retryable("the service is being removed: close the window 'Services' and try again") from error
        raise Retryable(f"the service control manager says: {getattr(error, 'strerror', error)} ({code})") from error
