"""The demo, from empty folder to verified datasets."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from agent.cli.demo import folder as demo_folder
from agent.cli.demo import servers
from agent.cli.demo.children import Children
from agent.cli.demo.folder import Folder
from agent.cli.demo.show import Row, row, table
from agent.cli.demo.subscriber import Subscriber
from agent.contract.topics import PREFIX
from agent.errors import ScopeAgentError, Unreachable
from agent.lock import FolderLock

_PATIENCE_S = 120
_EVERY_S = 30


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asked for."""

    root: Path
    once: bool
    broker: tuple[str, int] | None
    facility: str | None
    token: str | None


@dataclass(slots=True)
class Stage:
    """The running demo."""

    folder: Folder
    children: Children
    events: Subscriber
    console: Console
    local: bool
    """The facility is ours, so its folder can be looked into."""
    _told: set[tuple[str, str]] = field(default_factory=set)

    def acquire(self, stamp: str, formats: tuple[str, ...] = ("ome.tiff", "ome.zarr")) -> int:
        """Acquire with the demo microscope, and let another program write a file; returns how many to expect."""
        python = str(self.folder.python)
        for ending in formats:
            output = self.folder.images / f"demo-{stamp}-{ending.rpartition('.')[2]}.{ending}"
            self.say(f"the demo microscope acquires {output.name}")
            script = str(self.folder.root / "microscope.py")
            self.children.run("microscope", [python, script, str(output)], self.tell)
        dropped = self.folder.watched / f"other-{stamp}.tif"
        self.say(f"another program writes {dropped.name} into a watched folder")
        self.children.run("other-program", [python, str(self.folder.root / "vendor.py"), str(dropped)], self.tell)
        return len(formats) + 1

    def wait_verified(self, known: set[str], count: int) -> list[Row]:
        """Until `count` acquisitions beside `known` are verified, saying each event as it comes."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            self.tell()
            found = {key: events for key, events in self.events.acquisitions().items() if key not in known}
            done = {key: events for key, events in found.items() if "verified" in events}
            if len(done) >= count:
                facility = self.folder.facility if self.local else None
                return [row(events, facility) for events in done.values()]
            self._check_alive()
            self.events.wait(0.5)
        said = self.children.last_line("agent")
        raise Unreachable(f"not verified within {_PATIENCE_S} s: see {self.folder.logs}, of which the last is: {said}")

    def tell(self) -> None:
        """Say the events that came since the last call."""
        for key, events in self.events.acquisitions().items():
            for event in events:
                if (key, event) not in self._told:
                    self._told.add((key, event))
                    self.say(f"  event: {events[event]['data']['name']} {event}")

    def say(self, text: str) -> None:
        self.console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {text}", highlight=False)

    def _check_alive(self) -> None:
        dead = self.children.dead()
        if dead is not None:
            raise ScopeAgentError(f"{dead} ended: {self.children.last_line(dead)}")


def play(wish: Wish, console: Console) -> None:
    """Run the demo; returns when it is done, or on KeyboardInterrupt after everything stopped."""
    existed = wish.root.exists()
    with FolderLock(wish.root, "demo"):
        folder = demo_folder.make(wish.root, existed)
        with Children(folder.logs) as children:
            broker = wish.broker or servers.broker(children, folder)
            facility = wish.facility or servers.facility(children, folder, broker)
            if wish.token:
                (folder.root / "token").write_text(wish.token, encoding="utf-8")
            # At a broker of others they have their say, too: only what is ours counts.
            with Subscriber(*broker, f"{PREFIX}/{demo_folder.SITE}/{demo_folder.INSTRUMENT}") as events:
                stage = Stage(folder, children, events, console, wish.facility is None)
                stage.say(f"MQTT broker at {broker[0]}:{broker[1]}, facility at {facility}")
                _start_agent(stage, facility, broker)
                _perform(stage, wish, facility)


def _start_agent(stage: Stage, facility: str, broker: tuple[str, int]) -> None:
    demo_folder.write_config(stage.folder, facility, broker)
    config = str(stage.folder.config)
    stage.children.start("agent", [sys.executable, "-m", "agent", "run", "-c", config])
    stage.say(f"scope-agent runs with {config}")


def _perform(stage: Stage, wish: Wish, facility: str) -> None:
    while True:
        began = time.monotonic()
        known = set(stage.events.acquisitions())
        count = stage.acquire(time.strftime("%H%M%S"))
        table(stage.wait_verified(known, count), stage.console)
        if wish.once:
            return
        stage.say(f"dashboard: {facility}/ (next acquisition every {_EVERY_S} s, Ctrl-C ends)")
        while time.monotonic() - began < _EVERY_S:
            stage.events.wait(0.5)
