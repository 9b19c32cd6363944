"""Where the demo's payments come from."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from demo_processes import ROOT, free_port

PAYMENTS = ROOT / "models/card/payments.csv.zst"


@dataclass
class Asked:
    """What the demo wants of its payments."""

    binaries: Path
    topic: str
    rate: float
    # Where the producer keeps a line for every payment that Kafka acknowledged, if it can.
    ledger: Path


@dataclass
class Source:
    """A producer, and the servers that it asks."""

    producer: list[str]
    servers: list[list[str]] = field(default_factory=list)


def producer(asked: Asked, verb: str, *arguments: str) -> list[str]:
    return [str(asked.binaries / "vigie-producer"), verb, *arguments, "--topic", asked.topic, "--partitions", "8"]


def replay(asked: Asked) -> Source:
    """Real card payments, moved to end today."""
    return Source(producer(asked, "replay", str(PAYMENTS), "--rate", f"{asked.rate:g}", "--shift-to-now",
                           "--bundle", "card", "--ledger", str(asked.ledger)))


def simulate(asked: Asked) -> Source:
    """Invented customers, whose last days are loaded first so that their windows are warm."""
    return Source(producer(asked, "simulate", "--rate", f"{asked.rate:g}", "--accounts", "2000", "--seed", "1",
                           "--history", "3d"))


def api(asked: Asked) -> Source:
    """An HTTP API that gives a random payment a call: the imitation of a public one."""
    port = free_port()
    server = [sys.executable, str(ROOT / "scripts/demo_api.py"), "--port", str(port), "--rows", str(PAYMENTS)]
    address = f"http://127.0.0.1:{port}/current-transactions"
    # The real one is asked every quarter of a minute; this one is ours.
    return Source(producer(asked, "poll", "--url", address, "--every", "100ms", "--bundle", "card"), [server])


SOURCES: dict[str, Callable[[Asked], Source]] = {"replay": replay, "simulate": simulate, "api": api}
