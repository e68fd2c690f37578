"""Micro-Manager 1.4 and 2.0: OME-TIFF stacks (`*_MMStack_*.ome.tif`) and folders of single images.

Both keep their settings in `metadata.txt` files, which end with a closing brace when the run is over. A stack's
header points at the index of its planes, which is written when the stack is closed.
"""

from __future__ import annotations

import re
from pathlib import Path

from agent.formats import binary, micromanager_images, micromanager_stack
from agent.formats.guarded import guarded
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness

_SIDE = ("comments.txt", "display_and_comments.txt", "DisplaySettings.json")


class _MicroManager:
    """What both versions share; a dataset is a stack when its main file is a TIFF."""

    name = ""
    major = ""

    def matches(self, path: Path) -> bool:
        try:
            main = _main(path)
            return main is not None and _version(main) == self.major
        except OSError:
            return False

    def dataset(self, path: Path) -> Dataset:
        main = _main(path) or path
        if micromanager_stack.is_stack(main):
            found = micromanager_stack.dataset(self.name, main)
        else:
            found = micromanager_images.dataset(self.name, main)
        return found

    def is_whole(self, dataset: Dataset) -> Verdict:
        if dataset.missing:
            names = ", ".join(dataset.missing[:3])
            return binary.growing(f"{len(dataset.missing)} files that the metadata name are not there: {names}")
        kind = micromanager_stack if micromanager_stack.is_stack(dataset.main) else micromanager_images
        verdicts: list[Verdict | None] = [kind.verdict(path) for path in dataset.files]
        for state in (Wholeness.DAMAGED, Wholeness.GROWING, Wholeness.UNKNOWN):
            found = next((one for one in verdicts if one is not None and one.state is state), None)
            if found is not None:
                return found
        return binary.whole(f"all {len(dataset.files)} files are closed and complete")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Images whose data is really there."""
        from agent.formats.tiff_layout import layout

        return sum(layout(path).planes for path in dataset.files if path.suffix.lower() == ".tif")

    def metadata(self, dataset: Dataset) -> Metadata:
        kind = micromanager_stack if micromanager_stack.is_stack(dataset.main) else micromanager_images
        return guarded(dataset.main, lambda: kind.metadata(dataset))


class MicroManager14(_MicroManager):
    """Micro-Manager up to 1.4."""

    name = "micromanager-1.4"
    major = "1"


class MicroManager20(_MicroManager):
    """Micro-Manager 2.0, alpha to gamma."""

    name = "micromanager-2.0"
    major = "2"


def _main(path: Path) -> Path | None:
    """The file that speaks for the dataset of `path`: the first stack, or the metadata.txt of an image."""
    name = path.name
    if name == "metadata.txt":
        return path if micromanager_images.is_metadata(path) else None
    if "_MMStack" in name or path.suffix.lower() == ".tif":
        stack = micromanager_stack.first(path)
        if stack is not None:
            return stack
    if re.match(r"img_.*\.tif$", name) and micromanager_images.is_metadata(path.parent / "metadata.txt"):
        return path.parent / "metadata.txt"
    if name in _SIDE or name.endswith(("_DisplaySettings.json", "_comments.txt")):
        return _beside(path.parent)
    return None


def _beside(folder: Path) -> Path | None:
    """The main file of the only dataset that a folder holds."""
    stacks = sorted(folder.glob("*_MMStack*.ome.tif"))[:1]
    if stacks:
        return micromanager_stack.first(stacks[0])
    texts = [folder / "metadata.txt", *sorted(folder.glob("*/metadata.txt"))[:1]]
    return next((text for text in texts if micromanager_images.is_metadata(text)), None)


def _version(main: Path) -> str:
    if micromanager_stack.is_stack(main):
        version = str(micromanager_stack.summary(main).get("MicroManagerVersion", ""))
        return "1" if version.startswith("1") else "2"
    return micromanager_images.major(main)
