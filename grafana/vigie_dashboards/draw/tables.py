"""Tables: a line per row, as many as fit."""

from typing import Any

from matplotlib.axes import Axes

from ..answer import Answered
from ..ask import Rows, Value
from ..fill import Span
from . import theme, units
from .theme import points

LINE = 22.0
# Pixels of one character, about.
LETTER = 6.3


def draw_table(axes: Axes, panel: Answered, _: Span) -> None:
    """The first query's rows."""
    answer = panel.asked[0].answer
    if not isinstance(answer, Rows):
        raise TypeError(f"{panel.title}: a table is drawn from rows")
    width, height = axes.get_xlim()[1], axes.get_ylim()[1]
    looks = [theme.overrides(panel.panel, column) for column in answer.columns]
    fitting = answer.rows[: int((height - LINE) // LINE)]
    texts = [
        [
            units.cell(value, look.get("unit", "short"), look.get("decimals"))
            for value, look in zip(row, looks, strict=True)
        ]
        for row in fitting
    ]
    right = [all(isinstance(row[at], int | float | None) for row in fitting) for at in range(len(looks))]
    edges = _edges([look.get("custom.width") for look in looks], answer.columns, texts, width)
    _line(axes, answer.columns, [theme.DIM] * len(looks), edges, right, height - LINE / 2, bold=True)
    for number, (row, line) in enumerate(zip(fitting, texts, strict=True), 1):
        y = height - LINE * (number + 0.5)
        axes.plot([4, width - 4], [y + LINE / 2] * 2, color=theme.GRID, linewidth=0.8)
        colors = [_color(value, look) for value, look in zip(row, looks, strict=True)]
        _line(axes, line, colors, edges, right, y, bold=False)


def _edges(
    fixed: list[float | None], columns: list[str], texts: list[list[str]], width: float
) -> list[tuple[float, float]]:
    """From where to where each column goes: its own width, or by its longest text; long ones share what is left."""
    longest = [max([len(column), *(len(line[at]) for line in texts)]) for at, column in enumerate(columns)]
    wanted = [own or min(length, 34) * LETTER + 18 for own, length in zip(fixed, longest, strict=True)]
    left = width - 8 - sum(own or 0 for own in fixed)
    free = sum(need for need, own in zip(wanted, fixed, strict=True) if not own)
    edges, at = [], 4.0
    for need, own in zip(wanted, fixed, strict=True):
        goes = own or need * left / free
        edges.append((at, at + goes))
        at += goes
    return edges


def _line(
    axes: Axes,
    texts: list[str],
    colors: list[str],
    edges: list[tuple[float, float]],
    right: list[bool],
    y: float,
    *,
    bold: bool,
) -> None:
    for text, color, (start, end), is_right in zip(texts, colors, edges, right, strict=True):
        room = int((end - start - 10) / LETTER)
        shown = text if len(text) <= room else text[: max(room - 1, 1)] + "…"
        axes.text(
            end - 9 if is_right else start + 6,
            y,
            shown,
            color=color,
            size=points(theme.CELL),
            weight="bold" if bold else "normal",
            ha="right" if is_right else "left",
            va="center",
            parse_math=False,
        )


def _color(value: Value, look: dict[str, Any]) -> str:
    if "thresholds" in look and isinstance(value, int | float):
        return theme.by_steps(float(value), look["thresholds"]["steps"])
    return theme.TEXT
