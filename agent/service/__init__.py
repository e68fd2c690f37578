"""The daemon as a service of the system: starts at boot with nobody logged in, restarted on failure, low privilege.

plan -> what a service is, the same everywhere
units -> systemd unit and launchd property list      windows -> Windows' service control manager, through pywin32
switch -> install, upgrade, and back when the new version does not come up healthy      host -> the Windows process
"""
