"""One function for each kind of panel; each draws into a rectangle in pixels."""

from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..answer import Answered
from ..ask import Rows, Series
from ..fill import Span
from . import theme, units
from .graph import draw_graph
from .tables import draw_table
from .theme import points

Box = tuple[float, float, float, float]


def draw(figure: Figure, panel: Answered, span: Span, box: Box) -> None:
    """By the panel's type."""
    left, bottom, width, height = box
    pixels = figure.get_size_inches() * theme.DPI
    axes = figure.add_axes((left / pixels[0], bottom / pixels[1], width / pixels[0], height / pixels[1]))
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(0, height))
    if all(asked.is_empty for asked in panel.asked):
        axes.text(width / 2, height / 2, "No data", color=theme.DIM, size=points(14), ha="center", va="center")
        return
    KINDS[panel.panel["type"]](axes, panel, span)


def draw_number(axes: Axes, panel: Answered, _: Span) -> None:
    """The last value of each series, as large as it fits."""
    defaults = panel.panel["fieldConfig"]["defaults"]
    shown = list(_last_values(panel))
    width, height = axes.get_xlim()[1], axes.get_ylim()[1]
    only_names = panel.panel["options"].get("textMode") == "name"
    for number, (name, value) in enumerate(shown):
        text = name if only_names else units.number(value, defaults.get("unit", "short"), defaults.get("decimals"))
        color = theme.by_steps(value, (defaults.get("thresholds") or {}).get("steps", []))
        if only_names:
            at = (width / 2, height * (len(shown) - number - 0.5) / len(shown))
            room = width
        else:
            at = (width * (number + 0.5) / len(shown), height / 2 - (0 if len(shown) == 1 else 6))
            room = width / len(shown)
        size = min(height * 0.62, room * 1.5 / max(len(text), 1), 40)
        axes.text(*at, text, color=color, size=points(size), ha="center", va="center", parse_math=False)
        if len(shown) > 1 and not only_names:
            axes.text(at[0], height - 12, name, color=theme.DIM, size=points(12), ha="center", va="center")


def draw_bars(axes: Axes, panel: Answered, _: Span) -> None:
    """A bar per row and value."""
    answer = panel.asked[0].answer
    if not isinstance(answer, Rows):
        raise TypeError(f"{panel.title}: bars are drawn from a table")
    names = [units.plain(str(row[0])) for row in answer.rows]
    field = panel.panel["fieldConfig"]["defaults"]
    unit, decimals = field.get("unit", "short"), field.get("decimals")
    is_log = (field.get("custom") or {}).get("scaleDistribution", {}).get("type") == "log"
    lying = panel.panel["options"].get("orientation") == "horizontal"
    plot = _inner(axes, (150 if lying else 50, 8, 60 if lying else 8, 22))
    plot.set_facecolor(theme.PANEL)
    for number, column in enumerate(answer.columns[1:], 1):
        values = [float(row[number] or 0) for row in answer.rows]  # type: ignore[arg-type]
        color = theme.color_of(panel.panel, column, number - 1)
        if lying:
            plot.barh(range(len(names)), values, color=color, height=0.7, log=is_log)
            for at, value in enumerate(values):
                plot.text(value, at, " " + units.number(value, unit, decimals), color=theme.TEXT,
                          size=points(theme.LABEL), va="center")  # fmt: skip
        else:
            plot.bar(range(len(names)), values, color=color, width=0.8, log=is_log)
    if lying:
        plot.set_yticks(range(len(names)), [_clipped(name, 24) for name in names], parse_math=False)
        plot.set_ylim(max(len(names), 6) - 0.4, -0.6)
        plot.xaxis.set_visible(False)
    else:
        every = max(1, round(len(names) * 45 / axes.get_xlim()[1]))
        plot.set_xticks(range(0, len(names), every), names[::every], parse_math=False)
        plot.yaxis.set_major_formatter(lambda value, _: units.number(value, unit))
        plot.grid(axis="y", color=theme.GRID, linewidth=0.8)
        plot.set_axisbelow(True)
    _quiet(plot)


def _last_values(panel: Answered) -> list[tuple[str, float | None]]:
    found: list[tuple[str, float | None]] = []
    for asked in panel.asked:
        if isinstance(asked.answer, Rows):
            row = asked.answer.rows[-1]
            found += [(name, None if value is None else float(value))  # type: ignore[arg-type]
                      for name, value in zip(asked.answer.columns, row, strict=True)]  # fmt: skip
        else:
            found += [(series.name, _last(series)) for series in asked.answer]
    return found


def _last(series: Series) -> float | None:
    return next((value for value in reversed(series.values) if value is not None), None)


def _inner(axes: Axes, margins: tuple[float, float, float, float]) -> Axes:
    """A plot within the panel: left, top, right and bottom are kept for what is written beside it."""
    left, top, right, bottom = margins
    width, height = axes.get_xlim()[1], axes.get_ylim()[1]
    return axes.inset_axes(
        (left, bottom, width - left - right, height - top - bottom), transform=axes.transData, zorder=2
    )


def _quiet(plot: Any) -> None:  # noqa: ANN401 - matplotlib's inset axes have no type
    plot.tick_params(colors=theme.DIM, labelsize=points(theme.LABEL), length=0)
    for spine in plot.spines.values():
        spine.set_visible(False)


def _clipped(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


KINDS: dict[str, Callable[[Axes, Answered, Span], None]] = {
    "timeseries": draw_graph,
    "stat": draw_number,
    "table": draw_table,
    "barchart": draw_bars,
}
