"""The whole dashboard as one picture."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from ..answer import Answered
from ..fill import Span
from . import panels, theme
from .theme import points

HEAD = 46


def draw(page: dict[str, Any], answered: Iterable[Answered], span: Span, file: Path) -> None:
    """Writes the picture; colours are reduced to those that are used, so that it stays small."""
    matplotlib.rcParams["font.family"] = "DejaVu Sans"
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in page["panels"])
    height = rows * theme.ROW + HEAD + theme.GAP
    figure = Figure((theme.WIDTH / theme.DPI, height / theme.DPI), dpi=theme.DPI, facecolor=theme.PAGE)
    canvas = figure.add_axes((0, 0, 1, 1))
    canvas.set_axis_off()
    canvas.set(xlim=(0, theme.WIDTH), ylim=(0, height))
    _head(canvas, page, span, height)
    for panel in page["panels"]:
        if panel["type"] == "row":
            x, y, _, panel_height = _box(panel, height)
            canvas.text(x + 4, y + panel_height / 2, panel["title"], color=theme.TEXT, size=points(14), va="center",
                        weight="bold")  # fmt: skip
    for one in answered:
        x, y, width, panel_height = _box(one.panel, height)
        frame = FancyBboxPatch((x, y), width, panel_height, boxstyle="round,pad=0,rounding_size=3",
                               facecolor=theme.PANEL, edgecolor=theme.BORDER, linewidth=0.8)  # fmt: skip
        canvas.add_patch(frame)
        canvas.text(x + 9, y + panel_height - 14, one.title, color=theme.TEXT, size=points(theme.TITLE), va="center",
                    parse_math=False)  # fmt: skip
        panels.draw(figure, one, span, (x + 4, y + 4, width - 8, panel_height - 30))
    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # A script that the font has no letters of is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(file)
    with Image.open(file) as picture:
        picture.convert("RGB").quantize(192, dither=Image.Dither.NONE).save(file, optimize=True)


def _head(canvas: Any, page: dict[str, Any], span: Span, height: float) -> None:  # noqa: ANN401
    middle = height - HEAD / 2 - 2
    canvas.text(12, middle, f"Vigie  /  {page['title']}", color=theme.TEXT, size=points(19), va="center", weight="bold")
    shown = f"{span.start:%Y-%m-%d %H:%M:%S}  to  {span.end:%Y-%m-%d %H:%M:%S} UTC"
    canvas.text(theme.WIDTH - 12, middle, shown, color=theme.DIM, size=points(12), va="center", ha="right")


def _box(panel: dict[str, Any], height: float) -> panels.Box:
    at = panel["gridPos"]
    column = (theme.WIDTH - theme.GAP) / theme.COLUMNS
    x = theme.GAP + at["x"] * column
    top = height - HEAD - at["y"] * theme.ROW
    return (x, top - at["h"] * theme.ROW + theme.GAP, at["w"] * column - theme.GAP, at["h"] * theme.ROW - theme.GAP)
