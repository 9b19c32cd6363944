"""One process of the peer: some partitions, from the stored offsets to their ends."""

from __future__ import annotations

import time
from dataclasses import dataclass

import onnxruntime
import orjson
from confluent_kafka import Consumer, Message, TopicPartition

from peer.features import Features
from peer.rows import Batch, Rows
from peer.store import Store

BATCH = 2_000
# A batch closes after this long, as Vigie's does.
BATCH_SECONDS = 0.02


@dataclass(frozen=True)
class Settings:
    """What a process needs to know."""

    brokers: str
    topic: str
    schema: str
    model: str
    token_key: bytes


@dataclass(frozen=True)
class Drained:
    """What a process has done; times by the machine's monotonic clock."""

    rows: int
    upserts: int
    first_poll: float
    last_commit: float


class Worker:
    """Polls, scores and commits, one batch after the other."""

    def __init__(self, settings: Settings, partitions: list[int]) -> None:
        """Connects, and reads nothing yet."""
        self._store = Store(settings.schema)
        self._features = Features()
        self._rows = Rows(settings.token_key)
        self._session = _session(settings.model)
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.brokers,
                "group.id": "peer",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "fetch.queue.backoff.ms": 10,
            }
        )
        offsets = self._store.next_offsets()
        here = [TopicPartition(settings.topic, partition, offsets[partition]) for partition in partitions]
        self._ends = {at.partition: self._consumer.get_watermark_offsets(at, timeout=10)[1] for at in here}
        self._open = {at.partition for at in here if at.offset < self._ends[at.partition]}
        self._assignment = here

    def drain(self) -> Drained:
        """Goes on until every partition is at the end it had at the start."""
        first_poll = last_commit = time.monotonic()
        rows = 0
        self._consumer.assign(self._assignment)
        while self._open:
            messages = self._consumer.consume(BATCH, timeout=BATCH_SECONDS)
            if messages:
                self._process(messages)
                rows += len(messages)
                last_commit = time.monotonic()
        self._consumer.close()
        return Drained(rows, self._store.upserts, first_poll, last_commit)

    def _process(self, messages: list[Message]) -> None:
        payloads: list[bytes] = []
        places: list[tuple[int, int]] = []
        for message in messages:
            if message.error() is not None:
                raise SystemExit(f"peer: {message.error()}")
            payloads.append(message.value())
            places.append((message.partition(), message.offset()))
        batch = Batch(payloads, places, [orjson.loads(payload) for payload in payloads])
        matrix, cents = self._features.of(batch.events)
        (probabilities,) = self._session.run(["probabilities"], {"features": matrix})
        # Within a partition messages come in order, so the last one stands.
        next_offsets = {partition: offset + 1 for partition, offset in places}
        self._store.commit(self._rows.of(batch, matrix, cents, probabilities[:, 1]), next_offsets)
        self._open -= {part for part, offset in next_offsets.items() if offset >= self._ends[part]}


def _session(model: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
