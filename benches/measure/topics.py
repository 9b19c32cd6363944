"""Topics: filled by vigie-producer, read back for the records' timestamps."""

from __future__ import annotations

import csv
import io
import subprocess
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import zstandard
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from measure.processes import end, tail
from measure.settings import Failure, Settings

PARTITIONS = 8


def rows_of(file: Path) -> int:
    """Payments in the file."""
    with file.open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as stream:
        return sum(1 for _ in csv.reader(io.TextIOWrapper(stream, encoding="utf-8"))) - 1


def passes(file: Path, rows: int) -> tuple[int, int]:
    """(passes, rows of a pass) that make at least so many rows."""
    in_file = rows_of(file)
    repeat = -(-rows // in_file)
    return repeat, -(-rows // repeat)


def make(settings: Settings, topic: str) -> None:
    """Makes an empty topic."""
    admin = AdminClient({"bootstrap.servers": settings.brokers})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)


class Replay:
    """vigie-producer at work on a topic, which it makes when it is absent."""

    def __init__(self, settings: Settings, topic: str, rows: int, rate: str) -> None:
        """Begins to send at least so many payments; `rows` is how many exactly."""
        repeat, limit = passes(settings.payments, rows)
        self.rows = repeat * limit
        self._log = settings.work / f"{topic}.log"
        command = [str(settings.binaries / "vigie-producer"), "replay", str(settings.payments)]
        command += ["--topic", topic, "--partitions", str(PARTITIONS), "--bundle", "card"]
        command += ["--repeat", str(repeat), "--limit", str(limit), "--rate", rate, "--shift-to-now"]
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)

    def __enter__(self) -> Self:
        """For `with`: it is gone at the end, whatever happens."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it, if it has not ended."""
        end(self._process)

    def wait(self) -> None:
        """Until all is acknowledged."""
        code = self._process.wait()
        if code != 0:
            raise Failure(f"vigie-producer ended with {code}:\n{tail(self._log)}")


def timestamps(settings: Settings, topic: str) -> dict[int, npt.NDArray[np.float64]]:
    """Per partition the records' timestamps, by offset, in Unix seconds."""
    consumer = Consumer(
        {"bootstrap.servers": settings.brokers, "group.id": "bench", "enable.auto.commit": False}
    )
    ends = {}
    for partition in range(PARTITIONS):
        ends[partition] = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
    found = {partition: np.full(until, np.nan) for partition, until in ends.items()}
    consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
    missing = sum(ends.values())
    while missing:
        messages = consumer.consume(10_000, timeout=10)
        if not messages:
            raise Failure(f"{topic}: {missing} records could not be read back")
        for message in messages:
            if message.error() is not None:
                raise Failure(f"{topic}: {message.error()}")
            found[message.partition()][message.offset()] = message.timestamp()[1] / 1000
        missing -= len(messages)
    consumer.close()
    return found
