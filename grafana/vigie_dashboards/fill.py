"""Fills in what Grafana fills in before it asks: variables, intervals, and the time macros of PostgreSQL."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# $name, ${name}, ${name:format}: as Grafana's template service reads them.
VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)(?::(\w+))?\}")
# A macro's arguments end at the first closing bracket, whatever was opened.
MACRO = re.compile(r"\$__(\w+)\(([^)]*)\)")
# Up to how many milliseconds which round interval is taken.
ROUND = [
    (15, 10), (35, 20), (75, 50), (150, 100), (350, 200), (750, 500), (1_500, 1_000), (3_500, 2_000), (7_500, 5_000),
    (12_500, 10_000), (17_500, 15_000), (25_000, 20_000), (45_000, 30_000), (90_000, 60_000), (210_000, 120_000),
    (450_000, 300_000), (750_000, 600_000), (1_050_000, 900_000), (1_500_000, 1_200_000), (2_700_000, 1_800_000),
    (5_400_000, 3_600_000), (9_000_000, 7_200_000), (16_200_000, 10_800_000), (32_400_000, 21_600_000),
    (86_400_000, 43_200_000), (604_800_000, 86_400_000), (1_814_400_000, 604_800_000), (3_628_800_000, 2_592_000_000),
]  # fmt: skip
YEAR = 31_536_000_000
UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
# Prometheus answers with at most this many points.
MOST_POINTS = 11_000
# A panel of the whole width has about this many pixels, and asks for as many points.
WHOLE_WIDTH = 1_600


@dataclass(frozen=True)
class Span:
    """What the dashboard's time picker says."""

    start: datetime
    end: datetime

    @classmethod
    def until(cls, end: datetime, length: timedelta) -> "Span":
        """The last so long."""
        return cls(end - length, end)

    @property
    def milliseconds(self) -> int:
        """Its length."""
        return round((self.end - self.start).total_seconds() * 1_000)


@dataclass(frozen=True)
class Interval:
    """How far apart the points of a panel are."""

    milliseconds: int

    @classmethod
    def of(cls, span: Span, columns: int, least: str) -> "Interval":
        """For a panel so many of the grid's 24 columns wide, and at least this (`15s`)."""
        wanted = span.milliseconds / (WHOLE_WIDTH * columns / 24)
        rounded = next((round_one for up_to, round_one in ROUND if wanted < up_to), YEAR)
        return cls(max(rounded, milliseconds(least)))

    @property
    def text(self) -> str:
        """As `15s`, `2m`, `1h`."""
        for unit in ("w", "d", "h", "m", "s"):
            if self.milliseconds % UNITS[unit] == 0:
                return f"{self.milliseconds // UNITS[unit]}{unit}"
        return f"{self.milliseconds}ms"


def milliseconds(text: str) -> int:
    """Of `15s`, `1h`; Grafana takes a leading `>` as well."""
    found = re.fullmatch(r">?(\d+)(ms|[smhdw])", text)
    if not found:
        raise ValueError(f"not an interval: {text!r}")
    return int(found[1]) * UNITS[found[2]]


def promql(expression: str, span: Span, columns: int, scrape: str, variables: dict[str, str]) -> tuple[str, int]:
    """The expression as Prometheus gets it, and the step in milliseconds."""
    safe = span.milliseconds // MOST_POINTS
    step = Interval(max(Interval.of(span, columns, scrape).milliseconds, safe))
    every = milliseconds(scrape)
    rate = Interval(max(step.milliseconds + every, 4 * every))
    own = {"__interval": step.text, "__rate_interval": rate.text, "__range": f"{span.milliseconds // 1_000}s"}
    return _substituted(expression, variables | own, lambda value: value), step.milliseconds


def sql(text: str, span: Span, columns: int, least: str, variables: dict[str, str]) -> str:
    """The statement as PostgreSQL gets it. What a person chose stands within quotes, and cannot leave them."""
    interval = Interval.of(span, columns, least)
    own = {"__interval": interval.text, "__interval_ms": str(interval.milliseconds)}
    filled = _substituted(text, variables | own, lambda value: value.replace("'", "''"))
    return MACRO.sub(lambda found: _macro(found[1], [arg.strip() for arg in found[2].split(",")], span), filled)


def _substituted(text: str, values: dict[str, str], quoted: Callable[[str], str]) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return quoted(values[name]) if name in values else found[0]

    return VARIABLE.sub(value, text)


def _macro(name: str, arguments: list[str], span: Span) -> str:
    column = arguments[0]
    start, end = (moment.astimezone(UTC) for moment in (span.start, span.end))
    match name:
        case "time":
            return f'{column} AS "time"'
        case "timeFilter":
            return f"{column} BETWEEN '{_rfc3339(start)}' AND '{_rfc3339(end)}'"
        case "timeFrom":
            return f"'{_rfc3339(start)}'"
        case "timeTo":
            return f"'{_rfc3339(end)}'"
        case "timeGroup" | "timeGroupAlias":
            seconds = milliseconds(arguments[1].strip("'")) / 1_000
            group = f"floor(extract(epoch from {column})/{seconds:g})*{seconds:g}"
            return group + (' AS "time"' if name == "timeGroupAlias" else "")
        case "unixEpochFilter":
            return f"{column} >= {int(start.timestamp())} AND {column} <= {int(end.timestamp())}"
        case "unixEpochFrom":
            return str(int(start.timestamp()))
        case "unixEpochTo":
            return str(int(end.timestamp()))
    raise ValueError(f"Grafana knows no macro $__{name}")


def _rfc3339(moment: datetime) -> str:
    text = moment.strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"{text}Z"
