"""Draining a loaded topic: rows a second between the first commit that was seen and the last."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from measure import page
from measure.database import make_days, outcomes, settle
from measure.observer import Observer, Sightings
from measure.processes import cpu_seconds, end, tail
from measure.settings import ROOT, Failure, Settings
from measure.vigie import Vigie, check_alive

LOOK_EVERY = 0.02
PATIENCE = 300.0


@dataclass
class Drain:
    """One drained topic, seen from outside the process."""

    rows: int
    seconds: float
    rows_per_second: float
    seconds_with_start: float
    cpu_seconds: dict[str, float]
    stage_seconds: dict[str, float] = field(default_factory=dict)
    own_rows_per_second: float | None = None
    outcomes: dict[str, int] = field(default_factory=dict)


def drain_by_vigie(settings: Settings, topic: str, rows: int, schema: str, days: list[date]) -> Drain:
    """`vigie run` into a fresh schema with the tables of these days, from its start to the last commit."""
    vigie = Vigie(settings, topic, schema)
    make_days(settings, schema, days)
    settle(settings)
    observer = Observer(settings, vigie.schema, "stream_offsets", LOOK_EVERY)
    watch = Watch(settings, rows)
    process = vigie.start()
    try:
        drained = watch.until_drained(process, vigie.log, observer.sightings)
        drained.stage_seconds = page.stage_seconds(page.scrape(vigie.address))
        vigie.stop()
    finally:
        vigie.kill()
        observer.end()
    drained.outcomes = outcomes(settings, vigie.schema)
    if drained.outcomes["scored"] != rows or drained.outcomes["rows"] != rows:
        raise Failure(f"{rows} payments were sent and became {drained.outcomes}")
    return drained


def drain_by_peer(settings: Settings, topic: str, rows: int, schema: str, model: Path) -> Drain:
    """The Python consumer, in two processes, on the same topic."""
    settle(settings)
    observer = Observer(settings, schema, "offsets", LOOK_EVERY)
    log, answer = settings.work / f"{schema}.log", settings.work / f"{schema}.json"
    watch = Watch(settings, rows)
    with log.open("wb") as errors, answer.open("wb") as output:
        command = [sys.executable, "-m", "peer", "--topic", topic, "--brokers", settings.brokers]
        command += ["--schema", schema, "--model", str(model)]
        environment = {**os.environ, **settings.database("migrator"), "PYTHONPATH": str(ROOT / "benches")}
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=environment)
    try:
        drained = watch.until_drained(process, log, observer.sightings)
        if process.wait(30) != 0:
            raise Failure(f"the peer ended with {process.returncode}:\n{tail(log)}")
    finally:
        end(process)
        observer.end()
    own = json.loads(answer.read_text())
    if own["rows"] != rows:
        raise Failure(f"{rows} payments were sent, the peer stored {own['rows']}")
    drained.own_rows_per_second = own["rows"] / own["seconds"]
    return drained


class Watch:
    """Times a process that drains a topic of so many rows, and counts what it costs the machine."""

    def __init__(self, settings: Settings, rows: int) -> None:
        """Begins now: the process is started right after."""
        self._rows = rows
        self._services = {name: settings.service_pid(name) for name in ("kafka", "postgres")}
        self._began = time.time()

    def until_drained(self, process: subprocess.Popen[bytes], log: Path, sightings: Sightings) -> Drain:
        """Waits for the last commit; a process that ends before it, or stands still, is a failure."""
        cost_before: dict[str, float] = {}
        deadline = time.monotonic() + PATIENCE
        while (committed := sightings.committed()) < self._rows:
            if committed and not cost_before:
                cost_before = self._cost(process.pid)
            if process.poll() not in (None, 0):
                check_alive(process, log)
            if time.monotonic() > deadline:
                raise Failure(f"{committed} of {self._rows} rows after {PATIENCE:.0f} s:\n{tail(log)}")
            _show(committed, self._rows)
            time.sleep(LOOK_EVERY)
        cost = self._cost(process.pid)
        _show(self._rows, self._rows)
        times, first_rows = sightings.times, sum(sightings.offsets[0].values())
        seconds = times[-1] - times[0]
        return Drain(
            rows=self._rows,
            seconds=seconds,
            rows_per_second=(self._rows - first_rows) / seconds,
            seconds_with_start=times[-1] - self._began,
            cpu_seconds={name: cost[name] - cost_before.get(name, 0.0) for name in cost},
        )

    def _cost(self, pid: int) -> dict[str, float]:
        processes = {"consumer": pid, **self._services}
        return {name: cpu_seconds(number) for name, number in processes.items()}


def _show(done: int, rows: int) -> None:
    if sys.stderr.isatty():
        print(f"\r  {done:>9,} of {rows:,} ", end="" if done < rows else "\n", file=sys.stderr, flush=True)
