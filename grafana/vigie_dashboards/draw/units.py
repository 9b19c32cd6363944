"""Numbers as Grafana writes them."""

import math
from datetime import datetime

STEPS: dict[str, list[tuple[float, float, str]]] = {
    "s": [(1e-6, 1e-9, " ns"), (1e-3, 1e-6, " µs"), (1, 1e-3, " ms"), (60, 1, " s"), (3_600, 60, " min"),
          (86_400, 3_600, " h"), (math.inf, 86_400, " d")],
    "bytes": [(1024, 1, " B"), (1024**2, 1024, " KiB"), (1024**3, 1024**2, " MiB"), (math.inf, 1024**3, " GiB")],
    "short": [(1e3, 1, ""), (1e6, 1e3, " K"), (1e9, 1e6, " M"), (math.inf, 1e9, " B")],
}  # fmt: skip
AFTER = {"cps": "/s", "reqps": "/s"}


def number(value: float | None, unit: str, decimals: int | None = None) -> str:
    """With its unit, in as many digits as help."""
    if value is None or math.isnan(value):
        return "-"
    if unit in ("percentunit", "percent"):
        share = value * 100 if unit == "percentunit" else value
        return f"{share:.{_decimals(share) if decimals is None else decimals}f}%"
    if unit == "locale":
        return f"{value:,.{0 if decimals is None else decimals}f}"
    if unit == "none":
        return f"{value:,.{_decimals(value) if decimals is None else decimals}f}"
    base = "short" if unit in AFTER else unit
    _, divisor, name = next(
        step for step in STEPS.get(base, STEPS["short"]) if abs(value) < step[0] or step[0] == math.inf
    )
    scaled = value / divisor
    if value == 0:
        name = " s" if unit == "s" else name if divisor == 1 else ""
        scaled = 0.0
    digits = _decimals(scaled) if decimals is None or divisor != 1 else decimals
    return f"{scaled:.{digits}f}{name}{AFTER.get(unit, '')}"


def cell(value: object, unit: str, decimals: int | None) -> str:
    """What stands in a table."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return plain(str(value))
    if unit == "short" and decimals is None and float(value).is_integer() and abs(value) < 1e6:
        return f"{value:,.0f}"
    return number(float(value), unit, decimals)


def plain(text: str) -> str:
    """One line of what can be seen; whoever wrote it, it is text."""
    return "".join(character if character.isprintable() else "·" for character in text)


def _decimals(value: float) -> int:
    size = abs(value)
    if size == 0 or (size >= 10 and float(value).is_integer()):
        return 0
    return 0 if size >= 100 else 1 if size >= 10 else 2 if not float(value).is_integer() else 0
