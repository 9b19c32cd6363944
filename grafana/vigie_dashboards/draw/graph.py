"""Series over time: lines, areas upon each other, bars upon each other."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..answer import Answered
from ..ask import Rows, Series
from ..fill import Span
from . import theme, units
from .theme import points

MOST_NAMED = 12
# Seconds.
TIME_STEPS = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200]
TIME_STEPS += [86_400 * days for days in (1, 2, 4, 7, 14, 28)]


def draw_graph(axes: Axes, panel: Answered, span: Span) -> None:
    """All series of all queries of the panel."""
    listed = [series for asked in panel.asked if not isinstance(asked.answer, Rows) for series in asked.answer]
    listed.sort(key=lambda series: [part.zfill(6) if part.isdigit() else part for part in series.name.split()])
    defaults = panel.panel["fieldConfig"]["defaults"]
    custom = defaults.get("custom") or {}
    colors = [theme.color_of(panel.panel, series.name, number) for number, series in enumerate(listed)]
    width, height = axes.get_xlim()[1], axes.get_ylim()[1]
    below = 20 + _legend(axes, [series.name for series in listed], colors)
    plot = axes.inset_axes((56, below, width - 66, height - below - 10), transform=axes.transData)
    plot.set_facecolor(theme.PANEL)
    if (custom.get("stacking") or {}).get("mode", "none") != "none":
        _stack(plot, listed, colors, custom.get("drawStyle") == "bars")
    else:
        for series, color in zip(listed, colors, strict=True):
            numbers = [np.nan if value is None else value for value in series.values]
            marker = "o" if sum(value is not None for value in series.values) < 4 else None
            times = _days(series.times)
            plot.plot(times, numbers, color=color, linewidth=1.4, marker=marker, markersize=3)
            plot.fill_between(times, numbers, color=color, alpha=0.06, linewidth=0)
    _frame(plot, span, defaults)


def _stack(plot: Any, listed: list[Series], colors: list[str], as_bars: bool) -> None:  # noqa: ANN401
    moments = sorted({time for series in listed for time in series.times})
    times = _days(moments)
    floor = np.zeros(len(times))
    at = {time: index for index, time in enumerate(moments)}
    gaps = np.diff(times)
    wide = float(gaps.min()) * 0.85 if len(gaps) else 0.03
    for series, color in zip(listed, colors, strict=True):
        values = np.zeros(len(times))
        for time, value in zip(series.times, series.values, strict=True):
            values[at[time]] = value or 0
        if as_bars:
            plot.bar(times, values, bottom=floor, width=wide, color=color, align="edge", linewidth=0)
        else:
            plot.fill_between(times, floor, floor + values, color=color, alpha=0.6, linewidth=0)
            plot.plot(times, floor + values, color=color, linewidth=1)
        floor = floor + values


def _frame(plot: Any, span: Span, defaults: dict[str, Any]) -> None:  # noqa: ANN401 - no type for inset axes
    start, end = span.start.astimezone(UTC), span.end.astimezone(UTC)
    plot.set_xlim(*_days([start, end]))
    top = max(defaults.get("max") or 0, plot.get_ylim()[1] if not defaults.get("max") else 0)
    if defaults.get("min") is not None:
        plot.set_ylim(defaults["min"], top if top > 0 else 1)
    if plot.dataLim.height == 0 and plot.dataLim.y1 <= 0:
        plot.set_ylim(0, 1)
    plot.set_xticks(_days(_round_times(start, end, 2 if plot.get_window_extent().width < 260 else 5)))
    plot.xaxis.set_major_formatter(lambda day, _: _moment(dates.num2date(day, tz=UTC), end - start))
    unit, decimals = defaults.get("unit", "short"), defaults.get("decimals")
    plot.yaxis.set_major_locator(MaxNLocator(nbins=5, min_n_ticks=3))
    if unit == "bytes":
        bottom, high = plot.get_ylim()
        step = 2 ** math.ceil(math.log2(max(high - bottom, 1) / 5))
        plot.set_yticks(np.arange(0, high, step))
    plot.yaxis.set_major_formatter(lambda value, _: units.number(value, unit, decimals))
    plot.grid(color=theme.GRID, linewidth=0.8)
    plot.set_axisbelow(True)
    plot.tick_params(colors=theme.DIM, labelsize=points(theme.LABEL), length=0)
    for spine in plot.spines.values():
        spine.set_visible(False)


def _round_times(start: datetime, end: datetime, most: int) -> list[datetime]:
    """At most so many and one more, at round times."""
    length = (end - start).total_seconds()
    step = next((step for step in TIME_STEPS if length / step <= most), TIME_STEPS[-1])
    first = math.ceil(start.timestamp() / step)
    last = math.floor(end.timestamp() / step)
    return [datetime.fromtimestamp(at * step, UTC) for at in range(first, last + 1)]


def _days(times: list[datetime]) -> list[float]:
    return [float(dates.date2num(time)) for time in times]


def _moment(at: datetime, length: timedelta) -> str:
    if length > timedelta(days=3):
        return at.strftime("%m-%d")
    return at.strftime("%H:%M:%S" if length < timedelta(minutes=2) else "%H:%M")


def _legend(axes: Axes, names: list[str], colors: list[str]) -> float:
    """Names at the bottom, in as many lines as they need; how high that is."""
    named = [(name, color) for name, color in zip(names, colors, strict=True) if name]
    more = len(named) - MOST_NAMED
    shown = named[:MOST_NAMED] + ([(f"and {more} more", theme.DIM)] if more > 0 else [])
    lines: list[list[tuple[float, str, str]]] = [[]]
    at, width = 10.0, axes.get_xlim()[1]
    for name, color in shown:
        needed = 26 + 6.2 * len(name)
        if at + needed > width and lines[-1]:
            lines.append([])
            at = 10.0
        lines[-1].append((at, name, color))
        at += needed
    for number, line in enumerate(reversed(lines)):
        y = 9 + 15 * number
        for x, name, color in line:
            axes.plot([x, x + 12], [y, y], color=color, linewidth=3, solid_capstyle="butt")
            axes.text(x + 17, y, units.plain(name), color=theme.TEXT, size=points(theme.LABEL), va="center",
                      parse_math=False)  # fmt: skip
    return 15.0 * len(lines) + 2
