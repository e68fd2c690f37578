"""The contract on RabbitMQ (MQTT 3.1.1 there): the same tests as on the other brokers, where it is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.errors import ScopeAgentError
from agent.outbox import Outbox
from agent.telemetry.probe import probe
from agent.telemetry.settings import MqttSettings
from tests.conftest import Broker, free_port, wait_port
from tests.unit.telemetry import test_inbound, test_publisher, test_replay
from tests.unit.telemetry.test_publisher import until

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SERVER.exists(), reason="RabbitMQ is not installed (Debian: rabbitmq-server)"),
]
CONFIG = """listeners.tcp = none
mqtt.listeners.tcp.default = 127.0.0.1:{port}
mqtt.allow_anonymous = true
mqtt.default_user = guest
mqtt.default_pass = guest
"""


class RabbitMq(Broker):
    """Everything in its folder and on loopback; its Erlang port mapper is our own child too."""

    def __init__(self, folder: Path) -> None:
        super().__init__("rabbitmq", folder)
        self._mapper_port = free_port()
        (folder / "rabbitmq.conf").write_text(CONFIG.format(port=self.port))
        (folder / "plugins").write_text("[rabbitmq_mqtt].")
        self._environment = os.environ | {
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "RABBITMQ_NODENAME": f"agent{self.port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        mapper = shutil.which("epmd") or next(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"))
        self._mapper = subprocess.Popen(
            [mapper, "-address", "127.0.0.1", "-port", str(self._mapper_port)], stdout=subprocess.DEVNULL
        )

    def start(self) -> None:
        with (self.folder / "output").open("ab") as log:
            self.process = subprocess.Popen(
                [SERVER], env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        wait_port(self.port, self.process, 90)
        until(self._ready, 60)

    def _ready(self) -> bool:
        """It listens before it takes anybody."""
        try:
            probe(MqttSettings(host="127.0.0.1", port=self.port, protocol="3.1.1"), seconds=2)
        except ScopeAgentError:
            return False
        return True

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def end(self) -> None:
        self.kill()
        self._mapper.kill()
        self._mapper.wait()


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMq]:
    made = RabbitMq(tmp_path_factory.mktemp("rabbitmq"))
    try:
        made.start()
        yield made
    finally:
        made.end()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    made = Outbox.open(tmp_path / "outbox.sqlite")
    yield made
    made.close()


@pytest.mark.parametrize(
    "check",
    [
        test_publisher.test_events_arrive_in_order_and_leave_the_outbox,
        test_publisher.test_the_last_will_says_offline_and_the_birth_says_online,
        test_replay.test_a_replay_sends_the_same_bytes_in_order,
        test_replay.test_the_daemon_is_asked_over_the_broker,
        # These two kill it, so they come last.
        test_publisher.test_retained_topics_are_published_anew_after_a_reconnect,
        test_publisher.test_events_wait_while_the_broker_is_killed,
    ],
    ids=lambda check: check.__name__,
)
def test_the_contract(check: Callable[..., None], rabbit: RabbitMq, outbox: Outbox) -> None:
    check(rabbit, outbox)


def test_probe_and_inbound(rabbit: RabbitMq, tmp_path: Path) -> None:
    test_publisher.test_probe_says_what_is_wrong_in_one_line(rabbit)
    test_inbound.test_over_a_real_broker(rabbit, test_inbound.ContextLog(tmp_path / "context"), tmp_path)
