"""Rows and offsets of a batch in one transaction: COPY, or, when a row is there already, an upsert."""

from __future__ import annotations

import psycopg
from psycopg import sql

COLUMNS = sql.SQL(
    "trans_num, account, event_time, amount, merchant, category, state, score, decision, features,"
    " source_partition, source_offset"
)

TABLES = """
CREATE TABLE IF NOT EXISTS payments_scored (
    trans_num        text        PRIMARY KEY,
    account          bytea       NOT NULL,
    event_time       timestamptz NOT NULL,
    amount           bigint      NOT NULL,
    merchant         text,
    category         text,
    state            text,
    score            real        NOT NULL,
    decision         smallint    NOT NULL,
    features         bytea       NOT NULL,
    source_partition integer     NOT NULL,
    source_offset    bigint      NOT NULL,
    scored_at        timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS offsets (
    partition   integer PRIMARY KEY,
    next_offset bigint  NOT NULL
) WITH (fillfactor = 50);
"""


class Store:
    """One connection to PostgreSQL. Where it is comes from libpq's variables (PGHOST and so on)."""

    def __init__(self, schema: str) -> None:
        """Connects, and works in that schema."""
        self._connection = psycopg.connect("", autocommit=True)
        self._schema = sql.Identifier(schema)
        self._connection.execute(sql.SQL("SET search_path = {}").format(self._schema))
        self._connection.execute("SET timezone = 'UTC'")
        self.upserts = 0

    def make_tables(self, partitions: int) -> None:
        """Makes what is missing."""
        with self._connection.transaction():
            self._connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(self._schema))
            self._connection.execute(TABLES)
            self._connection.execute(
                "INSERT INTO offsets SELECT generate_series(0, %s), 0 ON CONFLICT DO NOTHING",
                (partitions - 1,),
            )

    def next_offsets(self) -> dict[int, int]:
        """Where each partition goes on."""
        return dict(self._connection.execute("SELECT partition, next_offset FROM offsets").fetchall())

    def commit(self, rows: bytes, next_offsets: dict[int, int]) -> None:
        """Stores a batch: `rows` in COPY's text format, and how far each of its partitions is read."""
        try:
            with self._connection.transaction():
                self._move(next_offsets)
                self._copy(sql.SQL("payments_scored"), rows)
        except psycopg.errors.UniqueViolation:
            self.upserts += 1
            with self._connection.transaction():
                self._move(next_offsets)
                self._upsert(rows)

    def _move(self, next_offsets: dict[int, int]) -> None:
        self._connection.execute(
            "UPDATE offsets SET next_offset = batch.next_offset"
            " FROM unnest(%s::integer[], %s::bigint[]) AS batch (partition, next_offset)"
            " WHERE offsets.partition = batch.partition",
            (list(next_offsets.keys()), list(next_offsets.values())),
        )

    def _copy(self, table: sql.SQL, rows: bytes) -> None:
        command = sql.SQL("COPY {} ({}) FROM STDIN").format(table, COLUMNS)
        with self._connection.cursor().copy(command) as copy:
            copy.write(rows)

    def _upsert(self, rows: bytes) -> None:
        self._connection.execute(
            "CREATE TEMPORARY TABLE staging (LIKE payments_scored INCLUDING DEFAULTS) ON COMMIT DROP"
        )
        self._copy(sql.SQL("staging"), rows)
        self._connection.execute(
            sql.SQL(
                "INSERT INTO payments_scored ({0}) SELECT DISTINCT ON (trans_num) {0} FROM staging"
                " ORDER BY trans_num, source_offset"
                " ON CONFLICT (trans_num) DO UPDATE SET score = excluded.score, decision = excluded.decision,"
                " features = excluded.features"
            ).format(COLUMNS)
        )
