"""How long the SQL panels take over many payments, for spans of up to 90 days.

Payments are made in the database, since the panels do not care who scored them, in a schema of their own that
`vigie migrate` made; the figures are counted by the code that counts them behind a real stream.
"""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import psycopg

from . import answer, files, running
from .ask import Value
from .fill import Span

DAYS = 90
SPANS = (1, 7, 30, DAYS)
SCHEMA = "panels_bench"
LIMIT = 1.0

# What one day brings: deterministic, with few risky merchants, hours that differ, and a label for every payment.
PAYMENTS = """
INSERT INTO payments_scored (event_time, scored_at, amount, body_hash, source_offset, source_partition, event_day,
                             score, stream, decision, account, trans_num, merchant, category, country, features, event,
                             model_version, policy_version)
SELECT day + second * INTERVAL '1 second', day + (second + 0.05 + r1 / 2) * INTERVAL '1 second',
       (100 + 30000 * r2 * r2)::bigint, i, i / 8, mod(i, 8), day::date, score, 1,
       CASE WHEN score > 0.9 THEN 2 WHEN score > 0.35 THEN 1 ELSE 0 END,
       decode(md5((floor(100000 * r3))::text), 'hex'), 'bench-' || i, 'merchant ' || floor(700 * r1 * r3),
       'category ' || floor(14 * r2), 'S' || floor(51 * r3 * r3), '', '{}', '1', '1'
FROM (
    SELECT i, %(day)s::timestamptz AS day, floor(86400 * (0.7 * r1 + 0.3 * r2 * r2)) AS second, r1, r2, r3,
           CASE WHEN r3 > 0.994 THEN r2 ELSE power(r1 * r2, 6) * 0.3 END AS score
    FROM (
        SELECT i, (hashint8(i)::bigint + 2147483648) / 4294967296.0 AS r1,
               (hashint8(i * 7919 + 13)::bigint + 2147483648) / 4294967296.0 AS r2,
               (hashint8(i * 104729 + 71)::bigint + 2147483648) / 4294967296.0 AS r3
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i
    ) AS random
) AS payment
"""
LABELS = """
INSERT INTO labels (event_time, at, event_day, stream, label, account, trans_num, source)
SELECT event_time, scored_at, event_day, stream, score > 0.5 AND mod(source_offset, 4) > 0, account, trans_num,
       'payload'
FROM payments_scored WHERE event_day = %(day)s::date
"""
ALERTS = """
INSERT INTO fraud_alerts (stream, source_partition, source_offset, event_day, event_time, trans_num, account, amount,
                          merchant, category, country, score, decision, reasons, created_at)
SELECT stream, source_partition, source_offset, event_day, event_time, trans_num, account, amount, merchant, category,
       country, score, decision, ARRAY['score_review'], scored_at
FROM payments_scored WHERE event_day = %(day)s::date AND decision > 0
"""
INCIDENTS = """
INSERT INTO incidents (kind, group_by, group_key, stream, severity, opened_at, last_alert_at, closed_at, alerts,
                       max_score)
SELECT 'fraud', 'account', encode(account, 'hex'), stream, 'warning', min(created_at), max(created_at),
       max(created_at) + INTERVAL '1 hour', count(*), max(score)
FROM fraud_alerts GROUP BY stream, account, event_day
"""
AMOUNTS = """
INSERT INTO incident_amounts (incident_id, currency, alerts, amount)
SELECT id, '', alerts, 12345 * alerts FROM incidents
"""
DEAD_LETTERS = """
INSERT INTO dead_letters (stream, source_partition, source_offset, topic, record_time, reason, message, payload,
                          payload_bytes, payload_hash)
SELECT 1, mod(i, 8), 1000000000 + i, 'bench', now(), (ARRAY['not_json', 'bad_time', 'wrong_type'])[1 + mod(i, 3)], '',
       '', 0, ''
FROM generate_series(1, 5000) AS i
"""
OFFSETS = """
INSERT INTO stream_offsets (stream, partition, first_offset, next_offset, watermark, scored, dead)
SELECT 1, p, 0, 2000000000, %(end)s, (SELECT count(*) FROM payments_scored WHERE source_partition = p), 625
FROM generate_series(0, 7) AS p
"""


def connect(user: str, password_file: str) -> psycopg.Connection[tuple[Value, ...]]:
    """A session of one of the roles of the stack whose env was sourced."""
    env = os.environ
    return psycopg.connect(
        host=env["VIGIE_DATABASE__HOST"],
        port=env["VIGIE_DATABASE__PORT"],
        dbname=env["VIGIE_DATABASE__NAME"],
        user=user,
        password=Path(password_file).read_text(),
        autocommit=True,
        options=f"-c search_path={SCHEMA} -c timezone=UTC -c synchronous_commit=off",
    )


def say(text: str) -> None:
    """A line for the person who waits."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")


def load(payments: int, end: datetime) -> None:
    """Makes the schema and fills it."""
    env = os.environ | {"VIGIE_DATABASE__SCHEMA": SCHEMA}
    subprocess.run([running.TARGET / "debug/vigie", "migrate"], env=env, check=True)  # noqa: S603 - our own program
    owner = connect(env["VIGIE_MIGRATE__USER"], env["VIGIE_MIGRATE__PASSWORD_FILE"])
    days = [(end - timedelta(days=back)).date() for back in reversed(range(DAYS))]
    owner.execute("INSERT INTO streams VALUES (1, 'bench', '', '', 8, '', '', 'UTC', 2)")
    owner.execute("SELECT ensure_days(%s)", [days])
    for number, day in enumerate(days):
        first, last = (payments * at // DAYS for at in (number, number + 1))
        given = {"day": f"{day}T00:00:00Z", "first": first, "last": last - 1}
        for statement in (PAYMENTS, LABELS, ALERTS):
            owner.execute(statement, given)
        if number % 10 == 9:
            say(f"{last:,} payments")
    for statement in (INCIDENTS, AMOUNTS, DEAD_LETTERS, OFFSETS):
        owner.execute(statement, {"end": end})
    owner.execute("VACUUM ANALYZE")
    say("the figures")
    began = time.monotonic()
    while not owner.execute("SELECT figures_step(1::smallint)").fetchall()[0][0]:
        pass
    say(f"counted in {time.monotonic() - began:.0f} s")
    owner.execute("ANALYZE")


def measure(end: datetime) -> list[tuple[str, str, int, float, float]]:
    """Dashboard, panel, days, and seconds of the first and of the median of five."""
    sources = running.sources(SCHEMA)
    found = []
    for name, page in files.committed().items():
        sql_only = {
            **page,
            "panels": [one for one in page["panels"] if one.get("datasource", {}).get("uid") == "postgres"],
        }
        for days in SPANS if name == "fraud" else (1,):
            span = Span(end - timedelta(days=days) + timedelta(milliseconds=1), end)
            rounds = [list(answer.panels(sql_only, sources, span)) for _ in range(5)]
            for same in zip(*rounds, strict=True):
                seconds = [sum(asked.seconds for asked in one.asked) for one in same]
                if all(asked.is_empty for asked in same[0].asked):
                    raise RuntimeError(f"{same[0].title} shows nothing: what is measured?")
                found.append((name, same[0].title, days, seconds[0], median(seconds)))
    return found


def run(payments: int) -> bool:
    """Loads, measures, prints a table; whether every panel kept within the limit."""
    # Today, whole: what is consumed and what is dead belongs to the day on which that happens.
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    end = today + timedelta(days=1) - timedelta(milliseconds=1)
    admin = connect(os.environ["VIGIE_MIGRATE__USER"], os.environ["VIGIE_MIGRATE__PASSWORD_FILE"])
    admin.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    try:
        load(payments, end)
        measured = measure(end)
    finally:
        admin.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    sys.stdout.write("| dashboard | panel | days | first, ms | median of 5, ms |\n|---|---|--:|--:|--:|\n")
    for name, title, days, first, middle in measured:
        sys.stdout.write(f"| {name} | {title} | {days} | {first * 1e3:.0f} | {middle * 1e3:.0f} |\n")
    slow = [row for row in measured if row[3] >= LIMIT]
    sys.stdout.write(
        f"\n{payments:,} payments over {DAYS} days; {len(slow)} of {len(measured)} took {LIMIT:g} s or more\n"
    )
    return not slow
