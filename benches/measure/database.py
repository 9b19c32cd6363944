"""The bench's own hand in PostgreSQL: checkpoints, days, what became of the records."""

from __future__ import annotations

from datetime import date

import psycopg
from psycopg import sql

from measure.settings import Settings


def connect(settings: Settings, role: str) -> psycopg.Connection:
    """A connection that commits every statement by itself."""
    given = settings.database(role)
    return psycopg.connect(
        host=given["PGHOST"],
        port=given["PGPORT"],
        dbname=given["PGDATABASE"],
        user=given["PGUSER"],
        password=given["PGPASSWORD"],
        autocommit=True,
    )


def settle(settings: Settings) -> None:
    """Writes out what the run before left in memory.

    Its schema stays until the stack is removed: dropping a year of days unlinks thousands of files, and ext4
    without a journal passes over fresh inodes for five minutes, at the cost of the next run.
    """
    with connect(settings, "admin") as admin:
        admin.execute("CHECKPOINT")


def make_days(settings: Settings, schema: str, days: list[date]) -> None:
    """Makes the partitions of these days, by the function that Vigie itself calls."""
    with connect(settings, "writer") as writer:
        writer.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
        writer.execute("SELECT ensure_days(%s::date[])", (days,))


def days_of(settings: Settings, schema: str) -> list[date]:
    """The days that payments in this schema lie on."""
    with connect(settings, "admin") as admin:
        rows = admin.execute(
            sql.SQL("SELECT DISTINCT event_day FROM {}.payments_scored").format(sql.Identifier(schema))
        )
        return sorted(day for (day,) in rows)


def outcomes(settings: Settings, schema: str) -> dict[str, int]:
    """What became of the records, by Vigie's own account, and the rows that are there."""
    with connect(settings, "admin") as admin:
        schema_name = sql.Identifier(schema)
        counts = admin.execute(
            sql.SQL(
                "SELECT sum(scored)::bigint, sum(dead)::bigint, sum(duplicates)::bigint,"
                " (SELECT count(*) FROM {0}.payments_scored) FROM {0}.stream_offsets"
            ).format(schema_name)
        ).fetchone()
    assert counts is not None  # noqa: S101 an aggregate always has a row
    return dict(zip(("scored", "dead", "duplicates", "rows"), counts, strict=True))
