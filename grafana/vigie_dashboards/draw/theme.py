"""Colours and type, after Grafana's dark theme."""

from typing import Any

PAGE, PANEL, BORDER = "#111217", "#181b1f", "#2a2d33"
TEXT, DIM, GRID = "#d5d6dc", "#8e9099", "#2a2e35"
PALETTE = [
    "#73BF69", "#F2CC0C", "#5794F2", "#FF9830", "#F2495C", "#8AB8FF", "#B877D9", "#96D98D", "#FFA6B0", "#DEB6F2",
    "#37872D", "#FADE2A", "#1F60C4", "#C4162A", "#8F3BB8",
]  # fmt: skip

# Pixels.
WIDTH, COLUMNS, ROW, GAP = 1500, 24, 38, 8
DPI = 100
TITLE, LABEL, CELL = 12.5, 10.5, 11.0


def points(pixels: float) -> float:
    """A size of type as matplotlib wants it."""
    return pixels * 72 / DPI


def by_steps(value: float | None, steps: list[dict[str, Any]]) -> str:
    """The colour of a number: that of the last step at or below it."""
    color = TEXT
    for step in steps:
        if step["value"] is None or (value is not None and value >= step["value"]):
            color = step["color"]
    return color


def overrides(panel: dict[str, Any], name: str) -> dict[str, Any]:
    """What differs for a field of this name."""
    found: dict[str, Any] = {}
    for override in panel["fieldConfig"].get("overrides") or []:
        if override["matcher"] == {"id": "byName", "options": name}:
            found |= {one["id"]: one.get("value") for one in override["properties"]}
    return found


def color_of(panel: dict[str, Any], name: str, number: int) -> str:
    """Of a series: its own, or the next of the palette."""
    own = overrides(panel, name).get("color")
    return str(own["fixedColor"]) if own else PALETTE[number % len(PALETTE)]
