"""`make bench`: Vigie and a Python consumer drain the same topic in turn; then payments at a steady rate.

Needs the stack's variables and a release build: scripts/bench.sh sees to both.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from measure import report, topics
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
    results = report.Results(machine(settings), [], [], [])
    model = Path(settings.work) / "peer.onnx"
    stamp = f"{time.time():.0f}"
    loaded = f"bench-load-{stamp}"
    step(f"loading a topic of {settings.rows:,} payments")
    with topics.Replay(settings, loaded, settings.rows, "max") as replay:
        replay.wait()
    rows = replay.rows
    for number in range(1, settings.runs + 1):
        step(f"run {number} of {settings.runs}: Vigie drains {rows:,} payments")
        results.vigie.append(drain_by_vigie(settings, loaded, rows, number))
        step(f"run {number}: {results.vigie[-1].rows_per_second:,.0f}/s; the peer drains the same topic")
        results.peer.append(drain_by_peer(settings, loaded, rows, number, model))
        step(
            f"run {number}: {results.peer[-1].rows_per_second:,.0f}/s; {settings.live_rate:,} payments/s live"
        )
        topic = f"bench-live-{stamp}-{number}"
        results.live.append(live(settings, topic, number))
        step(f"run {number}: p50 {results.live[-1].p50_ms:.1f} ms, p99 {results.live[-1].p99_ms:.1f} ms")
        topics.remove(settings, [topic])
    topics.remove(settings, [loaded])
    return results


def step(text: str) -> None:
    """Says what happens now, and how long it has been."""
    print(f"bench {time.monotonic() - BEGAN:4.0f} s: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
