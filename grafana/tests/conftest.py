"""One real processor for all tests that ask servers."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from vigie_dashboards import running
from vigie_dashboards.answer import Sources
from vigie_dashboards.fill import Span
from vigie_dashboards.running import Run

# Merchants as somebody writes them who hopes that a page, a sheet or a query takes them for more than text.
HOSTILE = [
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    '=HYPERLINK("http://evil.example","click")',
    "$__timeFilter(x)'); DROP TABLE payments_scored; --",
    "[click](javascript:alert(1))",
    "two\nlines",
    "${currency} {{instance}}",
]
BROKEN = [{"amt": "a lot"}, {"amt": "1e400"}, {"lat": "east"}, {"merch_lat": "NaN"}]


@dataclass
class Scored:
    """What the processor has scored when the tests begin."""

    run: Run
    sources: Sources
    began: datetime
    ended: datetime
    sent: int

    @property
    def spans(self) -> dict[str, Span]:
        """For each dashboard a span in which there is something to see."""
        day = midnight(self.began)
        return {
            # A panel by the quarter minute (CPU) has no point within a run that is shorter: the next one has all of it.
            "operations": Span(self.began, self.ended + timedelta(seconds=15)),
            "fraud": Span.until(max(self.ended, day + timedelta(hours=1)), timedelta(days=90)),
            "yesterday": Span(day, day + timedelta(days=1) - timedelta(milliseconds=1)),
        }


def midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def frauds(count: int, day: datetime) -> list[dict[str, str]]:
    """The slice's dearest frauds once more, on that day: a second after the other from midnight on, when a model that
    has learned from frauds expects them."""
    found = [row for row in running.payments() if row["is_fraud"] == "1"]
    dearest = sorted(found, key=lambda row: float(row["amt"]), reverse=True)[:count]
    return [
        {
            **row,
            "trans_num": f"again-{number}",
            "trans_date_trans_time": f"{day + timedelta(seconds=number):%Y-%m-%d %H:%M:%S}",
        }
        for number, row in enumerate(dearest)
    ]


def write(file: Path, payments: list[dict[str, str]]) -> Path:
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(payments[0]))
        writer.writeheader()
        writer.writerows(payments)
    return file


@pytest.fixture(scope="session")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scored]:
    folder = tmp_path_factory.mktemp("scored")
    began = datetime.now(UTC)
    settings = {"VIGIE_CANARY__EVERY": "1s", "VIGIE_OUTPUT__TOPIC": "panels-decisions"}
    with running.processor(folder, **settings) as run:
        run.send(running.PAYMENTS, "--shift-to-now")
        hostile = frauds(10 * len(HOSTILE), midnight(began))
        for number, row in enumerate(hostile):
            row["merchant"] = HOSTILE[number % len(HOSTILE)]
        broken = [{**row, **wrong} for row, wrong in zip(frauds(len(BROKEN), midnight(began)), BROKEN, strict=True)]
        run.send(write(folder / "hostile.csv", hostile))
        run.send(write(folder / "broken.csv", [{**row, "trans_num": f"broken-{row['trans_num']}"} for row in broken]))
        sent = 1 + len(running.payments()) + len(hostile) + len(broken)
        sources = running.sources(run.schema)
        running.wait_for("all records are stored", lambda: run.total("vigie_events_total") >= sent)
        running.count(run.schema)
        running.wait_for("the canary came through", lambda: run.total("vigie_canary_age_seconds") > 0)
        running.wait_for("an incident was opened", lambda: run.total('vigie_incidents_total{kind="fraud"') > 0)
        running.wait_for("Prometheus has seen it", lambda: (running.seen(run, sources.prometheus) or 0) >= sent)
        yield Scored(run, sources, began, datetime.now(UTC), sent)
