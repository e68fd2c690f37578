"""Metrics for Prometheus (text format 0.0.4), on loopback only: GET /metrics.

Two dozen numbers need no library; names follow prometheus.io/docs/practices/naming.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from agent import __version__
from agent.errors import Misconfigured
from agent.heart import Heart

LOOPBACK = "127.0.0.1"
_TICK_S = 0.5
_STALL_S = 5.0

Sample = tuple[str, str, str, dict[str, str], float]
"""Name, type, help, labels, value."""


def render(samples: Iterator[Sample]) -> str:
    """The exposition; samples of one name must follow each other."""
    lines: list[str] = []
    last = ""
    for name, kind, text, labels, value in samples:
        if name != last:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            last = name
        told = ",".join(f'{key}="{_escaped(said)}"' for key, said in labels.items())
        lines.append(f"{name}{{{told}}} {value:.10g}" if told else f"{name} {value:.10g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def collect(heart: Heart) -> Iterator[Sample]:
    """What a scrape tells. Reads the outbox, memory and counters; asks nobody else."""
    import shutil

    import psutil

    station, publisher = heart.station, heart.publisher
    topics, outbox = station.topics, station.outbox
    here = {"site": topics.site, "instrument": topics.instrument, "version": __version__}
    yield "scope_agent_info", "gauge", "Who this is.", here, 1
    current = heart.listen.current()
    yield "scope_agent_acquiring", "gauge", "1 while an acquisition is on.", {}, float(current is not None)
    frames = current.frames if current else 0
    yield "scope_agent_current_frames", "gauge", "Frames of the current acquisition.", {}, frames
    for state, count in sorted(outbox.counts().items()):
        labels = {"state": state.value}
        yield "scope_agent_acquisitions", "gauge", "Acquisitions in the outbox.", labels, count
    yield "scope_agent_queue", "gauge", "Acquisitions not yet verified.", {}, outbox.queue()
    yield "scope_agent_queue_bytes", "gauge", "Bytes not yet sent.", {}, outbox.bytes_left()
    yield "scope_agent_events_total", "counter", "Events told.", {}, outbox.last_sequence()
    up = publisher is not None and publisher.problem is None
    yield "scope_agent_broker_up", "gauge", "1 while events can be published.", {}, float(up)
    yield "scope_agent_problems", "gauge", "Parts of the daemon that fail now.", {}, len(heart.problems())
    free = shutil.disk_usage(station.workspace.parent).free
    yield "scope_agent_disk_free_bytes", "gauge", "Free space where the outbox is.", {}, free
    process = psutil.Process()
    spent = process.cpu_times()
    yield "process_cpu_seconds_total", "counter", "Processor time.", {}, spent.user + spent.system
    yield "process_resident_memory_bytes", "gauge", "Resident memory.", {}, process.memory_info().rss
    yield "process_start_time_seconds", "gauge", "Start, seconds since the epoch.", {}, process.create_time()
    yield "process_threads", "gauge", "Threads.", {}, process.num_threads()


class MetricsServer:
    """`run` is a duty of the supervisor."""

    def __init__(self, port: int, samples: Callable[[], Iterator[Sample]]) -> None:
        try:
            self._server = HTTPServer((LOOPBACK, port), _handler(samples))
        except OSError as error:
            raise Misconfigured(f"metrics.port {port} is taken ({error.strerror}): name another one") from error
        self._server.timeout = _TICK_S
        self.port = int(self._server.server_address[1])

    def run(self, stop: threading.Event) -> None:
        """Answer, one at a time, until `stop`."""
        while not stop.is_set():
            self._server.handle_request()
        self._server.server_close()


def _handler(samples: Callable[[], Iterator[Sample]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _STALL_S
        server_version, sys_version = "scope-agent", ""

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404, "only /metrics is here")
                return
            body = render(samples()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- named so by its base
            """A scrape every quarter of a minute is no news."""

    return Handler
