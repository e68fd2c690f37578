"""Makes the README's pictures from a real run: demo.svg (the terminal) and fleet.png (the page in Chromium).

Usage: python docs/make_pictures.py [CHROMIUM]
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console

from agent.cli.demo.play import Wish, play

DOCS = Path(__file__).parent


def terminal(folder: Path) -> None:
    console = Console(record=True, width=118)
    os.chdir(folder)
    play(Wish(Path("scope-agent-demo"), True, None, None, None), console)
    text = console.export_svg(title="scope-agent demo --once", clear=False)
    # The picture brings its letters along or uses the reader's; it fetches none.
    text = re.sub(r"@font-face \{.*?\}", "", text, flags=re.DOTALL)
    (DOCS / "demo.svg").write_text(text, encoding="utf-8")


def page(folder: Path, chromium: str) -> None:
    command = [sys.executable, "-m", "agent", "demo", "--dir", str(folder / "scope-agent-demo")]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=DOCS.parent)
    try:
        address = next(found[1] for line in demo.stdout if (found := re.search(r"dashboard: (\S+)", line)))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            tab = browser.new_page(viewport={"width": 1100, "height": 720})
            tab.goto(address)
            # The next acquisition begins within half a minute: that is what the page is for.
            tab.wait_for_selector(".card.acquiring progress[value]", timeout=60_000)
            tab.wait_for_timeout(700)
            tab.screenshot(path=DOCS / "fleet.png")
            browser.close()
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(20)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        terminal(Path(name))
        page(Path(name), sys.argv[1] if len(sys.argv) > 1 else "/usr/bin/chromium")
