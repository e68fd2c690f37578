"""The target that the settings name; each kind is loaded only where it is used."""

from __future__ import annotations

from agent.delivery.port import Target
from agent.delivery.settings import DeliverySettings


def open_target(settings: DeliverySettings, owner: str, *, used: bool = False) -> Target:
    """Open it; `owner` marks what this installation leaves there unfinished, `used` that it has delivered there.

    Raises Misconfigured.
    """
    if settings.target == "s3" and settings.s3 is not None:
        from agent.delivery.s3 import S3Target

        return S3Target(settings.s3, settings.stall_s, owner)
    if settings.target == "folder" and settings.folder is not None:
        from agent.delivery.folder import FolderTarget

        return FolderTarget(settings.folder, used=used)
    if settings.target == "rclone" and settings.rclone is not None:
        from agent.delivery.rclone import RcloneTarget

        return RcloneTarget(settings.rclone, settings.stall_s)
    from agent.delivery.facility import FacilityTarget

    return FacilityTarget(settings)
