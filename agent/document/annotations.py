"""Namespaced map annotations: each said once, referenced from everything that it describes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lxml.etree import _Element

from agent.contract.record import Captured, Metric
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
        if content:
            make(element, "AnnotationRef").set("ID", self.number(topic, content))

    def number(self, topic: str, content: tuple[tuple[str, str], ...]) -> str:
        """The id of a map annotation, made with the first question for it."""
        key = (f"{PREFIX}:{topic}", content)
        return self._ids.setdefault(key, f"Annotation:scope-agent-{len(self._ids)}")

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


def metric_pairs(metrics: Mapping[str, Metric]) -> list[tuple[str, str]]:
    """Quality control as key and text: the value, then its interval, limit, status, date and age in words."""
    found = []
    for name, metric in metrics.items():
        key = f"{name} [{metric.unit}]" if metric.unit else name
        if metric.value is None:
            found.append((key, "none"))
            continue
        said = [f"{metric.value:.6g}"]
        if metric.low is not None and metric.high is not None:
            said.append(f"95 % interval {metric.low:.6g} to {metric.high:.6g}")
        if metric.limit is not None:
            said.append(f"{metric.limit_sense} {metric.limit:g} ({metric.limit_source})")
        said.append("no limit" if metric.status == "none" else metric.status)
        said.append(f"measured {metric.measured_at}, {metric.age_days:g} days before")
        if metric.quality == "low":
            said.append("low quality")
        found.append((key, "; ".join(said)))
    return found
