"""Asks Prometheus and PostgreSQL what Grafana would ask them for a panel, and returns their answers."""

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import psycopg

from .fill import Span

Value = float | str | bool | datetime | None


@dataclass
class Series:
    """A name and its points, in order."""

    name: str
    times: list[datetime]
    values: list[float | None]
    labels: dict[str, str] = field(default_factory=dict)


@dataclass
class Rows:
    """What a table shows."""

    columns: list[str]
    rows: list[tuple[Value, ...]]


class RefusedError(Exception):
    """The server does not answer the question; the text is its own."""


class Prometheus:
    """Its HTTP interface."""

    def __init__(self, address: str) -> None:
        """Where it listens."""
        self.address = address.rstrip("/")

    def over(self, expression: str, span: Span, step: int) -> list[dict[str, Any]]:
        """A range query; its points are at multiples of the step, as Grafana aligns them."""
        seconds = step / 1_000
        start, end = (moment.timestamp() // seconds * seconds for moment in (span.start, span.end))
        found = self._get("query_range", query=expression, start=f"{start}", end=f"{end}", step=f"{seconds}")
        return cast(list[dict[str, Any]], found["result"])

    def at(self, expression: str, moment: datetime) -> list[dict[str, Any]]:
        """An instant query, in the form of the other: one point each."""
        found = self._get("query", query=expression, time=f"{moment.timestamp()}")["result"]
        return [{"metric": one["metric"], "values": [one["value"]]} for one in found]

    def label_values(self, selector: str, label: str, span: Span) -> list[str]:
        """Of the series that were there in the span."""
        span_of = {"start": f"{span.start.timestamp()}", "end": f"{span.end.timestamp()}"}
        return cast(list[str], self._get(f"label/{label}/values", **{"match[]": selector}, **span_of))

    def scrape_interval(self) -> str:
        """How often it scrapes; what a data source is told as its interval."""
        config: str = self._get("status/config")["yaml"]
        return next(line.split(": ")[1] for line in config.splitlines() if "scrape_interval: " in line)

    def _get(self, what: str, **parameters: str) -> Any:  # noqa: ANN401 - JSON
        url = f"{self.address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - an address of our own
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise RefusedError(f"{parameters.get('query', what)}: {json.load(error)['error']}") from None


def series_of(found: list[dict[str, Any]], legend: str) -> list[Series]:
    """Prometheus's answer, named as the legend says: `{{label}}` is the label's value."""
    listed = []
    for one in found:
        labels = dict(one["metric"])
        name = legend
        for label, value in labels.items():
            name = name.replace(f"{{{{{label}}}}}", value)
        times = [datetime.fromtimestamp(float(at), UTC) for at, _ in one["values"]]
        numbers = [None if text in ("NaN", "+Inf", "-Inf") else float(text) for _, text in one["values"]]
        listed.append(Series("" if name == "__auto" else name, times, numbers, labels))
    return listed


def select(connection: psycopg.Connection[tuple[Value, ...]], statement: str) -> Rows:
    """What PostgreSQL answers."""
    # The statement is a committed panel's, filled in; nothing else reaches this place.
    with connection.cursor() as cursor:
        try:
            cursor.execute(statement)
        except psycopg.Error as error:
            raise RefusedError(f"{error}\n{statement}") from None
        columns = [column.name for column in cursor.description or []]
        return Rows(columns, cursor.fetchall())


def series_of_rows(answer: Rows) -> list[Series]:
    """Rows in the order of their time, as lines: one per metric and value column."""
    at = answer.columns.index("time")
    metric = answer.columns.index("metric") if "metric" in answer.columns else None
    values = [index for index in range(len(answer.columns)) if index not in (at, metric)]
    found: dict[str, Series] = {}
    for row in answer.rows:
        moment = row[at]
        time = moment if isinstance(moment, datetime) else datetime.fromtimestamp(float(cast(float, moment)), UTC)
        for index in values:
            column = answer.columns[index]
            named = column if metric is None else str(row[metric])
            name = named if metric is None or len(values) == 1 else f"{named} {column}"
            series = found.setdefault(name, Series(name, [], []))
            series.times.append(time)
            series.values.append(None if row[index] is None else float(cast(float, row[index])))
    return list(found.values())
