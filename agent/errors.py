"""The errors of scope-agent: one tree, foreign errors are translated into it at the border.

    ScopeAgentError
    |-- Misconfigured        a human must change a setting; exit code 2
    |-- Retryable            the same call may succeed later (network, disk full, broker away); exit code 75
    |   |-- Unreachable      the other side did not answer, or not in time
    |   `-- NoSpace          a disk is full, here or at the facility
    |-- Rejected             never again by itself: kept, visible, retried only by an operator; exit code 65
    |   |-- SourceChanged    a source file is not the one that was captured
    |   |-- Mismatch         the far side holds other bytes than were sent
    |   `-- Damaged          a file or database contradicts itself
    `-- Busy                 somebody else owns it (a second daemon, a second demo); exit code 73

Every message is one line that says what to do.
"""

from __future__ import annotations


class ScopeAgentError(Exception):
    """Base of all errors that scope-agent raises on purpose."""

    exit_code = 1


class Misconfigured(ScopeAgentError):
    """A setting is wrong and only a human can change it."""

    exit_code = 2


class Retryable(ScopeAgentError):
    """The same call may succeed later without any change."""

    exit_code = 75


class Unreachable(Retryable):
    """The other side did not answer, or did not answer in time."""


class NoSpace(Retryable):
    """A disk is full, on this machine or at the facility."""


class Rejected(ScopeAgentError):
    """The call will fail again until somebody changes the data or the receiver."""

    exit_code = 65


class SourceChanged(Rejected):
    """A source file is no longer the one that was captured."""


class Mismatch(Rejected):
    """The far side holds other bytes than the ones that were sent."""


class Damaged(Rejected):
    """A file or a database contradicts itself."""


class Busy(ScopeAgentError):
    """Another process owns what was asked for."""

    exit_code = 73
