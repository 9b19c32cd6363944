"""A run worth looking at, and its pictures: a past, some minutes of live payments, and what goes wrong with them."""

import csv
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from . import answer, files, running
from .answer import Sources
from .draw import page as pictures
from .fill import Span
from .running import Run

HISTORY_DAYS = 14
ACCOUNTS = 20_000
# A second, and how many; with more of them being fraud than in the past, so that the minutes have something to show.
RATE, LIVE, FRAUD = 5, 1_500, 0.02
BROKEN = [{"amt": "a lot"}, {"amt": "1e400"}, {"lat": "east"}, {"merch_lat": "NaN"}]


def spans(now: datetime, minutes: float, days: float, day: datetime | None) -> dict[str, Span]:
    """What each dashboard looks at; of Yesterday the day, or the one before today."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    start = day.replace(tzinfo=UTC) if day else today - timedelta(days=1)
    return {
        "operations": Span.until(now, timedelta(minutes=minutes)),
        "fraud": Span.until(now, timedelta(days=days)),
        "yesterday": Span(start, start + timedelta(days=1) - timedelta(milliseconds=1)),
    }


def draw(sources: Sources, looked_at: dict[str, Span], folder: Path) -> None:
    """The three dashboards, a picture each."""
    for name, page in files.committed().items():
        file = folder / f"{name}.png"
        pictures.draw(page, answer.panels(page, sources, looked_at[name]), looked_at[name], file)
        sys.stdout.write(f"{file}\n")


def show(folder: Path, build: str) -> None:
    """Runs and draws."""
    settings = {"VIGIE_CANARY__EVERY": "10s", "VIGIE_OUTPUT__TOPIC": "decisions"}
    with tempfile.TemporaryDirectory() as scratch, running.processor(Path(scratch), build, **settings) as run:
        sources = running.sources(run.schema)
        simulate(run, "--history", f"{HISTORY_DAYS}d", "--limit", "0")
        running.settle(run)
        began = datetime.now(UTC)
        simulate(run, "--rate", str(RATE), "--limit", str(LIVE), "--fraud-share", str(FRAUD))
        mistakes(run, Path(scratch))
        running.settle(run)
        now = datetime.now(UTC)
        draw(sources, spans(now, (now - began).total_seconds() / 60, HISTORY_DAYS, now.replace(tzinfo=None)), folder)


def simulate(run: Run, *options: str) -> None:
    """The same customers each time."""
    run.produce("simulate", "--accounts", str(ACCOUNTS), "--seed", "7", *options)


def mistakes(run: Run, folder: Path) -> None:
    """Records that are dead letters, and some that were sent before."""
    some = running.payments()[:40]
    broken = [{**row, **BROKEN[number % len(BROKEN)]} for number, row in enumerate(some[:12])]
    for name, rows in (("once", some), ("twice", some), ("broken", broken)):
        file = folder / f"{name}.csv"
        with file.open("w", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        run.send(file, "--shift-to-now")
