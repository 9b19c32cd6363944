"""The figures as a page: min, median and max of the runs, and whether the bars are met by the median."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median

from measure.drain import Drain
from measure.live import Live
from measure.machine import Machine
from measure.settings import Settings

# The project's own bars, on a machine of two cores.
DRAIN_AT_LEAST, RATIO_AT_LEAST, P99_AT_MOST = 40_000.0, 0.75, 60.0
STAGES = ("poll", "decode", "features", "score", "decide", "commit")


@dataclass
class Results:
    """All that was measured."""

    machine: Machine
    vigie: list[Drain]
    vigie_days_made: list[Drain]
    peer: list[Drain]
    live: list[Live]
    days: int

    def as_json(self) -> str:
        """Everything, run by run."""
        return json.dumps(asdict(self), indent=2) + "\n"


def page(settings: Settings, results: Results) -> str:
    """The report in Markdown."""
    here = results.machine
    rows = results.vigie[0].rows
    parts = [
        "# Vigie: figures",
        f"{here.cores} cores ({here.cpu}), {here.memory_gib} GiB, {here.system}, PostgreSQL {here.postgres}, "
        f"Python {here.python}; load before the run {here.load_before}. Kafka, PostgreSQL, "
        "what is measured and what measures share the machine.",
        f"Drained: {rows:,} payments, 8 partitions, bundle `card`; live: {settings.live_rate:,} payments/s "
        f"for {settings.live_seconds} s. {len(results.vigie)} runs each, taking turns.",
        _figures(results),
        "Drained/s is counted from the first commit that another database session saw to the last, for Vigie "
        "and the peer alike. Live latency is from the record's timestamp until another session saw the "
        "offset committed with the row (looked for every 3 ms); the tables of the days were made before. The "
        "drained topic holds the same week of 908 cards again and again, moved on by "
        f"whole days, so that its payments lie on {results.days} days: their tables are made on the way, or, "
        "where the table says so, before.",
        "## Share of each stage (median of the runs, wall time of the lanes)",
        _stages(results),
        "## CPU while draining, microseconds a payment (median of the runs)",
        _cpu(results),
    ]
    return "\n\n".join(parts) + "\n"


def _figures(results: Results) -> str:
    vigie, peer, live = results.vigie, results.peer, results.live
    ratios = _ratios(vigie, peer)
    made = [run.rows_per_second for run in results.vigie_days_made]
    drained = [run.rows_per_second for run in vigie]
    p99 = [run.p99_ms for run in live]
    lines = [
        _row(
            "Vigie drained/s", drained, ",.0f", f"≥ {DRAIN_AT_LEAST:,.0f}", median(drained) >= DRAIN_AT_LEAST
        ),
        _row(
            "the same, start of the process included", [r.rows / r.seconds_with_start for r in vigie], ",.0f"
        ),
        _row("the same, the days' tables made before", made, ",.0f"),
        _row("peer drained/s", [run.rows_per_second for run in peer], ",.0f"),
        _row("Vigie / peer", ratios, ".2f", f"≥ {RATIO_AT_LEAST}", median(ratios) >= RATIO_AT_LEAST),
        _row("the same, the days' tables made before", _ratios(results.vigie_days_made, peer), ",.2f"),
        _row("live p50, ms", [run.p50_ms for run in live], ".1f"),
        _row("live p99, ms", p99, ".1f", f"≤ {P99_AT_MOST:.0f}", median(p99) <= P99_AT_MOST),
        _row("live p50 by Vigie's own histogram, ms", [run.own_p50_ms for run in live], ".1f"),
        _row("live p99 by Vigie's own histogram, ms", [run.own_p99_ms for run in live], ".1f"),
    ]
    return "\n".join(["| | min | median | max | bar | |", "|---|---:|---:|---:|---|---|", *lines])


def _ratios(ours: list[Drain], theirs: list[Drain]) -> list[float]:
    return [one.rows_per_second / other.rows_per_second for one, other in zip(ours, theirs, strict=True)]


def _row(name: str, values: list[float], form: str, bar: str = "", met: bool | None = None) -> str:
    numbers = " | ".join(format(value, form) for value in (min(values), median(values), max(values)))
    verdict = "" if met is None else "met" if met else "**missed**"
    return f"| {name} | {numbers} | {bar} | {verdict} |"


def _stages(results: Results) -> str:
    drain = _shares([run.stage_seconds for run in results.vigie])
    live = _shares([run.stage_seconds for run in results.live])
    lines = [f"| {stage} | {drain[stage]:.1%} | {live[stage]:.1%} |" for stage in STAGES]
    return "\n".join(["| stage | draining | live |", "|---|---:|---:|", *lines])


def _shares(runs: list[dict[str, float]]) -> dict[str, float]:
    return {stage: median(run[stage] / sum(run.values()) for run in runs) for stage in STAGES}


def _cpu(results: Results) -> str:
    lines = [
        f"| {name} | {_costs(runs, 'consumer')} | {_costs(runs, 'kafka')} | {_costs(runs, 'postgres')} |"
        for name, runs in (
            ("Vigie", results.vigie),
            ("Vigie, days made before", results.vigie_days_made),
            ("peer", results.peer),
        )
    ]
    return "\n".join(["| drained by | itself | Kafka | PostgreSQL |", "|---|---:|---:|---:|", *lines])


def _costs(runs: Iterable[Drain], process: str) -> str:
    costs = [(run.cpu_seconds[process] / run.rows, run.cpu_seconds[process] / run.seconds) for run in runs]
    of_payment, of_core = (median(column) for column in zip(*costs, strict=True))
    return f"{of_payment * 1e6:.1f} ({of_core:.0%} of a core)"
