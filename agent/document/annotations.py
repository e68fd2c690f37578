"""Namespaced map annotations: each said once, referenced from everything that it describes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lxml.etree import _Element

from agent.contract.record import Captured
from agent.document.order import child, make, text

PREFIX = "urn:scope-agent:v1"
_UNIT_FREE = frozenset(["TransmittanceBands"])


class Annotations:
    """Collects annotations while the document is built; `write` puts them into StructuredAnnotations."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, tuple[tuple[str, str], ...]], str] = {}

    def attach(self, element: _Element, topic: str, pairs: Iterable[tuple[str, str]]) -> None:
        """Reference a map annotation of `pairs` from `element`; nothing when there are none."""
        content = tuple(pairs)
        if not content:
            return
        key = (f"{PREFIX}:{topic}", content)
        number = self._ids.setdefault(key, f"Annotation:scope-agent-{len(self._ids)}")
        make(element, "AnnotationRef").set("ID", number)

    def write(self, root: _Element) -> None:
        """Add the annotations to the document."""
        if not self._ids:
            return
        holder = child(root, "StructuredAnnotations")
        for (namespace, pairs), number in self._ids.items():
            annotation = make(holder, "MapAnnotation")
            annotation.set("ID", number)
            annotation.set("Namespace", namespace)
            value = make(annotation, "Value")
            for key, content in pairs:
                entry = make(value, "M")
                entry.set("K", text(key))
                entry.text = text(content)


def pairs(values: Mapping[str, Captured], leave: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Captured values as key and text, the unit in the key: `WorkingDistance [um]`."""
    gone = frozenset(leave)
    found = []
    for name, value in values.items():
        if name in gone or value.value is None:
            continue
        found.append((f"{name} [{value.unit}]" if value.unit else name, _plain(name, value)))
        if value.conflict:
            found.append((f"{name} (conflict)", value.conflict))
    return found


def _plain(name: str, value: Captured) -> str:
    if not isinstance(value.value, list):
        return text(value.value)
    parts = [text(part) for part in value.value]
    if name in _UNIT_FREE:
        return ", ".join(f"{low}-{high}" for low, high in zip(parts[::2], parts[1::2], strict=False))
    return " ".join(parts)
