"""Looks at committed offsets from outside, over a connection of its own.

Rows and their offset are committed in one transaction, so a session that sees the offset sees the rows.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from measure.database import connect
from measure.settings import Settings


@dataclass
class Sightings:
    """Every change that was seen: when (Unix seconds, at the answer), and the offsets then."""

    times: list[float] = field(default_factory=list)
    offsets: list[dict[int, int]] = field(default_factory=list)

    def committed(self) -> int:
        """Rows committed at the last sighting; topics of the bench begin at offset 0."""
        return sum(self.offsets[-1].values()) if self.offsets else 0


class Observer:
    """A thread that reads `schema.table` again and again."""

    def __init__(self, settings: Settings, schema: str, table: str, every: float) -> None:
        """Connects and begins; the table need not be there yet."""
        self.sightings = Sightings()
        self._query = sql.SQL("SELECT partition, next_offset FROM {}.{}").format(
            sql.Identifier(schema), sql.Identifier(table)
        )
        self._every = every
        self._connection = connect(settings, "admin")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stops looking."""
        self._ended.set()
        self._thread.join()
        self._connection.close()

    def _watch(self) -> None:
        last: dict[int, int] = {}
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            due = time.monotonic() + self._every
            seen = self._look()
            if seen != last and any(seen.values()):
                self.sightings.times.append(time.time())
                self.sightings.offsets.append(seen)
            last = seen

    def _look(self) -> dict[int, int]:
        try:
            return dict(self._connection.execute(self._query).fetchall())
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return {}
