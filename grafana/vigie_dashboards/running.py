"""A processor of one's own that scores real payments, watched by the stack's Prometheus.

Needs a running stack whose env was sourced. Topic, schema and group are new each time; whatever was started is ended.
"""

import csv
import io
import json
import os
import random
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from . import GRAFANA, ask
from .answer import Sources
from .ask import Prometheus, Value

ROOT = GRAFANA.parent
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
PAYMENTS = ROOT / "models/card/payments.csv.zst"
PATIENCE = 120.0
# A past of weeks takes longer to be stored.
LONG = 900.0
QUIET = 3.0


@dataclass
class Run:
    """One processor and what it works on."""

    schema: str
    topic: str
    page: str
    env: dict[str, str]
    binaries: Path
    folder: Path

    def send(self, file: Path, *options: str) -> None:
        """Sends a file of payments to the topic."""
        with self.sending(file, *options):
            pass

    @contextmanager
    def sending(self, file: Path, *options: str) -> Iterator[None]:
        """The same, while something else is done; at the end all of it has been sent."""
        command = [str(self.binaries / "vigie-producer"), "replay", str(file), "--topic", self.topic, *options]
        producer = subprocess.Popen(command, env=self.env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            yield
        except BaseException:
            producer.terminate()
            raise
        said = str(producer.communicate()[0], "utf-8")
        if producer.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {producer.returncode}:\n{said}")

    def total(self, series: str) -> float:
        """The sum of all series of /metrics whose name, or name and labels, begin so."""
        with urllib.request.urlopen(self.page, timeout=5) as answer:  # noqa: S310 - an address of our own
            lines = str(answer.read(), "utf-8").splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))


def payments() -> list[dict[str, str]]:
    """The committed slice, a row each."""
    text = subprocess.run(["zstdcat", PAYMENTS], stdout=subprocess.PIPE, check=True, text=True).stdout
    return list(csv.DictReader(io.StringIO(text)))


def sources(schema: str) -> Sources:
    """Prometheus of the stack, and its database as the reader."""
    return Sources(Prometheus(os.environ["VIGIE_STACK_PROMETHEUS"]), connect("vigie_reader", "reader_password"), schema)


def connect(user: str, secret: str) -> psycopg.Connection[tuple[Value, ...]]:
    """A session that reads, as one of the roles; the secret is a file's name."""
    env = os.environ
    return psycopg.connect(
        host=env["VIGIE_DATABASE__HOST"],
        port=env["VIGIE_DATABASE__PORT"],
        dbname=env["VIGIE_DATABASE__NAME"],
        user=user,
        password=(Path(env["VIGIE_STACK_SECRETS"]) / secret).read_text(),
        autocommit=True,
        options="-c default_transaction_read_only=on -c timezone=UTC",
    )


def settle(run: Run) -> None:
    """Until whatever was sent is stored, and in the figures."""
    wait_for("nothing waits in Kafka", _quiet(run), LONG)
    count(run.schema)


def count(schema: str) -> None:
    """Until everything that is stored now is in the figures."""
    with connect("vigie_desk", "desk_password") as desk:
        [(now,)] = ask.select(desk, "SELECT now()::text").rows
        statement = f"SELECT FROM {schema}.figures_rounds WHERE complete_at > '{now}'"
        wait_for("the figures have all of it", lambda: bool(ask.select(desk, statement).rows), LONG)


def _quiet(run: Run) -> Callable[[], bool]:
    """No lag and nothing new for three seconds: gauges are stated every second or so."""
    last = (-1.0, 0.0)

    def is_quiet() -> bool:
        nonlocal last
        events = run.total("vigie_events_total")
        if events != last[0] or run.total("vigie_consumer_lag") > 0:
            last = (events, time.monotonic())
        return time.monotonic() - last[1] > QUIET

    return is_quiet


def seen(run: Run, prometheus: Prometheus) -> float | None:
    """How many records Prometheus knows of."""
    instance = run.page.split("/")[2]
    found = prometheus.at(f'sum(vigie_events_total{{instance="{instance}"}})', datetime.now(UTC))
    return float(found[0]["values"][0][1]) if found else None


def wait_for(what: str, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Until it holds; after so long it will not."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {patience:.0f} s")
        time.sleep(0.1)


@contextmanager
def processor(folder: Path, build: str = "debug", **settings: str) -> Iterator[Run]:
    """A `vigie run` on a topic and in a schema of its own, seen by the stack's Prometheus."""
    name = f"panels_{random.getrandbits(40):010x}"
    listen = f"127.0.0.1:{free_port()}"
    topic = name.replace("_", "-")
    env = os.environ | {
        "VIGIE_DATABASE__SCHEMA": name,
        "VIGIE_STREAM__TOPIC": topic,
        "VIGIE_STREAM__GROUP": topic,
        "VIGIE_STREAM__BUNDLE": str(ROOT / "models/card"),
        "VIGIE_HTTP__LISTEN": listen,
        **settings,
    }
    run = Run(name, topic, f"http://{listen}/metrics", env, TARGET / build, folder)
    _complete([str(run.binaries / "vigie"), "migrate"], env)
    for wanted in filter(None, (topic, settings.get("VIGIE_OUTPUT__TOPIC"))):
        # One payment, of an earlier day than the others, makes the topic.
        first = [str(run.binaries / "vigie-producer"), "replay", str(PAYMENTS), "--topic", wanted, "--limit", "1"]
        _complete(first, env)
    target = Path(env["VIGIE_STACK_TARGETS"]) / f"{name}.json"
    log = folder / "vigie.log"
    with log.open("wb") as out:
        vigie = subprocess.Popen([str(run.binaries / "vigie"), "run"], env=env, stdout=out, stderr=out, cwd=ROOT)
    try:
        target.write_text(json.dumps([{"targets": [listen]}]))
        wait_for("vigie answers", lambda: vigie.poll() is not None or _answers(run.page))
        if vigie.poll() is not None:
            raise RuntimeError(f"vigie has ended:\n{log.read_text()}")
        # What grew before Prometheus looked for the first time has no rate.
        prometheus = Prometheus(os.environ["VIGIE_STACK_PROMETHEUS"])
        wait_for("Prometheus scrapes it", lambda: seen(run, prometheus) is not None)
        yield run
    finally:
        target.unlink(missing_ok=True)
        vigie.terminate()
        vigie.wait(30)


def free_port() -> int:
    """Below the range that the kernel hands out to outgoing connections."""
    while True:
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", random.randrange(20000, 32000)))  # noqa: S311
            except OSError:
                continue
            return int(listener.getsockname()[1])


def _answers(page: str) -> bool:
    try:
        with urllib.request.urlopen(page, timeout=1):  # noqa: S310 - an address of our own
            return True
    except OSError:
        return False


def _complete(command: list[str], env: dict[str, str]) -> None:
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
