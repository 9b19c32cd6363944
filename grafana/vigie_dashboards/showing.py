"""A run worth looking at, and its pictures: the committed payments in some minutes, and what goes wrong with them."""

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

# Payments a second, and for how many days back the committed ones reach.
RATE, DAYS = 60, 9
BROKEN = [{"amt": "a lot"}, {"amt": "1e400"}, {"lat": "east"}, {"merch_lat": "NaN"}]


def spans(now: datetime, minutes: float, days: float, day: datetime | None) -> dict[str, Span]:
    """What each dashboard looks at; of Yesterday the day, or the one before today."""
    of_day = day.replace(tzinfo=UTC) if day else now - timedelta(days=1)
    start = of_day.replace(hour=0, minute=0, second=0, microsecond=0)
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
        began = datetime.now(UTC)
        with run.sending(running.PAYMENTS, "--shift-to-now", "--rate", str(RATE)):
            half = len(running.payments()) / 2
            running.wait_for("half of it", lambda: run.total("vigie_events_total") > half, running.LONG)
            mistakes(run, Path(scratch))
        ended = datetime.now(UTC)
        running.settle(run)
        minutes = (ended - began).total_seconds() / 60
        # Soon after midnight nothing is of the new day yet: the payments end where the run begins.
        of_day = ended - timedelta(hours=6)
        draw(running.sources(run.schema), spans(ended, minutes, DAYS, of_day), folder)


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
