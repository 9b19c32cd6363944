"""Payments at a steady rate: how long from the record's timestamp until its row can be seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from measure import page, topics
from measure.database import make_days, settle
from measure.observer import Observer, Sightings
from measure.processes import cpu_seconds, tail
from measure.settings import Failure, Settings
from measure.vigie import Vigie, check_alive

# The figure is at most this much, and on average half of it, too high.
LOOK_EVERY = 0.003
# The replayed file's days pass within a second or two each. In service a day's tables are made once a day, so
# here they are made before.
DAYS_BACK = 60


@dataclass
class Live:
    """Latencies in milliseconds, the first seconds not counted."""

    payments: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    own_p50_ms: float
    own_p99_ms: float
    stage_seconds: dict[str, float]
    cpu_share: dict[str, float]


def live(settings: Settings, topic: str, schema: str) -> Live:
    """Sends while `vigie run` reads; ends when the last row is committed."""
    topics.make(settings, topic)
    vigie = Vigie(settings, topic, schema)
    today = datetime.now(UTC).date()
    make_days(settings, schema, [today - timedelta(days=back) for back in range(-1, DAYS_BACK)])
    settle(settings)
    process = vigie.start()
    observer = Observer(settings, vigie.schema, "stream_offsets", LOOK_EVERY)
    try:
        _await(lambda: page.is_ready(vigie.address), 60, "vigie run is not ready after 60 s", vigie)
        payments = settings.live_rate * (settings.live_warm_up + settings.live_seconds)
        with topics.Replay(settings, topic, payments, str(settings.live_rate)) as replay:
            _await(observer.sightings.committed, 30, "no row after 30 s", vigie)
            time.sleep(settings.live_warm_up)
            began, before, cost = time.time(), page.scrape(vigie.address), _cost(settings, process.pid)
            replay.wait()
        spent, cost_after = time.time() - began, _cost(settings, process.pid)
        _await(
            lambda: observer.sightings.committed() >= replay.rows, 30, "rows are missing after 30 s", vigie
        )
        after = page.scrape(vigie.address)
        vigie.stop()
    finally:
        vigie.kill()
        observer.end()
    delays = latencies(topics.timestamps(settings, topic), observer.sightings, began) * 1000
    stages, stages_before = page.stage_seconds(after), page.stage_seconds(before)
    name = "vigie_end_to_end_seconds"
    return Live(
        payments=len(delays),
        p50_ms=float(np.quantile(delays, 0.5)),
        p99_ms=float(np.quantile(delays, 0.99)),
        max_ms=float(delays.max()),
        own_p50_ms=page.quantile(before, after, name, 0.5) * 1000,
        own_p99_ms=page.quantile(before, after, name, 0.99) * 1000,
        stage_seconds={stage: seconds - stages_before.get(stage, 0.0) for stage, seconds in stages.items()},
        cpu_share={name: (cost_after[name] - cost[name]) / spent for name in cost},
    )


def latencies(
    stamps: dict[int, npt.NDArray[np.float64]], sightings: Sightings, since: float
) -> npt.NDArray[np.float64]:
    """Seconds from each record's timestamp to the first sighting of an offset beyond it."""
    times = np.array(sightings.times)
    delays = []
    for partition, of_partition in stamps.items():
        seen = np.array([offsets.get(partition, 0) for offsets in sightings.offsets])
        first = np.searchsorted(seen, np.arange(len(of_partition)), side="right")
        counted = of_partition >= since
        delays.append((times[first] - of_partition)[counted])
    return np.concatenate(delays)


def _await(condition: Callable[[], object], seconds: float, otherwise: str, vigie: Vigie) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        check_alive(vigie.process, vigie.log)
        if time.monotonic() > deadline:
            raise Failure(f"{otherwise}:\n{tail(vigie.log)}")
        time.sleep(0.05)


def _cost(settings: Settings, pid: int) -> dict[str, float]:
    services = {name: settings.service_pid(name) for name in ("kafka", "postgres")}
    return {name: cpu_seconds(number) for name, number in {"consumer": pid, **services}.items()}
