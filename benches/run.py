"""`make bench`: Vigie and a Python consumer drain the same topic in turn; then payments at a steady rate.

Needs the stack's variables and a release build: scripts/bench.sh sees to both.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from measure import report, topics
from measure.database import days_of
from measure.drain import drain_by_peer, drain_by_vigie
from measure.live import live
from measure.machine import machine
from measure.settings import Failure, Settings

BEGAN = time.monotonic()


def main() -> None:
    """Loads, measures, prints and keeps the results; a bar that is missed is said, not an error."""
    try:
        settings = Settings.from_environment()
        results = measure(settings)
    except Failure as failure:
        sys.exit(f"bench: {failure}")
    text = report.page(settings, results)
    settings.results.mkdir(parents=True, exist_ok=True)
    (settings.results / "results.md").write_text(text)
    (settings.results / "results.json").write_text(results.as_json())
    print(text)


def measure(settings: Settings) -> report.Results:
    """All runs; Vigie, the peer and the live part take turns, so that a slow minute meets all of them."""
    results = report.Results(machine(settings), [], [], [], [], 0)
    model = Path(settings.work) / "peer.onnx"
    # Names that no earlier run on this stack has used; all of it goes with the stack.
    stamp = f"bench_{time.time():.0f}"
    step(f"loading a topic of {settings.rows:,} payments")
    with topics.Replay(settings, stamp, settings.rows, "max") as replay:
        replay.wait()
    rows = replay.rows
    for number in range(1, settings.runs + 1):
        step(f"run {number} of {settings.runs}: Vigie drains {rows:,} payments")
        schema = f"{stamp}_vigie_{number}"
        results.vigie.append(drain_by_vigie(settings, stamp, rows, schema, []))
        days = days_of(settings, schema)
        results.days = len(days)
        rate = results.vigie[-1].rows_per_second
        step(f"run {number}: {rate:,.0f}/s; again, {results.days} days made before")
        schema = f"{stamp}_days_{number}"
        results.vigie_days_made.append(drain_by_vigie(settings, stamp, rows, schema, days))
        rate = results.vigie_days_made[-1].rows_per_second
        step(f"run {number}: {rate:,.0f}/s; the peer drains the same topic")
        results.peer.append(drain_by_peer(settings, stamp, rows, f"{stamp}_peer_{number}", model))
        step(
            f"run {number}: {results.peer[-1].rows_per_second:,.0f}/s; {settings.live_rate:,} payments/s live"
        )
        name = f"{stamp}_live_{number}"
        results.live.append(live(settings, name, name))
        step(f"run {number}: p50 {results.live[-1].p50_ms:.1f} ms, p99 {results.live[-1].p99_ms:.1f} ms")
    return results


def step(text: str) -> None:
    """Says what happens now, and how long it has been."""
    print(f"bench {time.monotonic() - BEGAN:4.0f} s: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
