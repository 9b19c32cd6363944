"""Drains a topic into PostgreSQL and says how long it took, as one line of JSON.

PostgreSQL is found by libpq's variables: PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD. Example:

python -m peer --topic payments --brokers 127.0.0.1:9092 --schema peer --model MODEL.onnx
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier

from confluent_kafka import Consumer

from peer.store import Store
from peer.worker import Drained, Settings, Worker


def main() -> None:
    """Reads the command line, drains, prints."""
    parser = argparse.ArgumentParser(
        prog="peer", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--topic", required=True)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--schema", required=True, help="made when it is absent")
    parser.add_argument("--model", required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--token-key", default="only for the benchmark", help="key of the account tokens")
    given = parser.parse_args()
    settings = Settings(given.brokers, given.topic, given.schema, given.model, given.token_key.encode())
    drained = _drain(settings, given.processes)
    rows = sum(one.rows for one in drained)
    seconds = max(one.last_commit for one in drained) - min(one.first_poll for one in drained)
    upserts = sum(one.upserts for one in drained)
    print(json.dumps({"rows": rows, "seconds": round(seconds, 3), "upserts": upserts}))


def _drain(settings: Settings, processes: int) -> list[Drained]:
    partitions = _partitions(settings)
    Store(settings.schema).make_tables(len(partitions))
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(processes)
    workers, answers = [], []
    for number in range(processes):
        answer, far_end = context.Pipe(duplex=False)
        share = partitions[number::processes]
        worker = context.Process(target=_work, args=(settings, share, start, far_end))
        worker.start()
        far_end.close()
        workers.append(worker)
        answers.append(answer)
    try:
        return [answer.recv() for answer in answers]
    except EOFError:
        raise SystemExit("peer: a process ended early") from None
    finally:
        for worker in workers:
            worker.join(10)
            worker.terminate()


def _partitions(settings: Settings) -> list[int]:
    consumer = Consumer({"bootstrap.servers": settings.brokers, "group.id": "peer"})
    topic = consumer.list_topics(settings.topic, timeout=10).topics[settings.topic]
    consumer.close()
    if topic.error is not None:
        raise SystemExit(f"peer: {settings.topic}: {topic.error}")
    return sorted(topic.partitions)


def _work(settings: Settings, partitions: list[int], start: Barrier, answer: Connection) -> None:
    worker = Worker(settings, partitions)
    start.wait(60)
    answer.send(worker.drain())
