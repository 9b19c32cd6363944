"""Takes a committed dashboard, and asks the servers for each of its panels."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg

from . import ask, fill
from .ask import Prometheus, Rows, Series, Value
from .fill import Span

LABEL_VALUES = re.compile(r"label_values\((.*), *(\w+)\)")


@dataclass
class Sources:
    """The servers behind the data sources, by their uid."""

    prometheus: Prometheus
    postgres: psycopg.Connection[tuple[Value, ...]]
    schema: str


@dataclass
class Asked:
    """One query of a panel as it was asked, what came back, and how long that took."""

    query: str
    answer: list[Series] | Rows
    seconds: float

    @property
    def is_empty(self) -> bool:
        """Nothing came back, or nothing but gaps."""
        if isinstance(self.answer, Rows):
            return not any(value is not None for row in self.answer.rows for value in row)
        return not any(value is not None for series in self.answer for value in series.values)


@dataclass
class Answered:
    """A panel and what its queries came back with."""

    panel: dict[str, Any]
    asked: list[Asked] = field(default_factory=list)

    @property
    def title(self) -> str:
        """As it stands over the panel."""
        return str(self.panel["title"])


def variables(page: dict[str, Any], sources: Sources, span: Span) -> dict[str, str]:
    """Each variable's first value, as when nobody has chosen yet."""
    chosen: dict[str, str] = {}
    for variable in page.get("templating", {}).get("list", []):
        name = variable["name"]
        if variable["type"] == "constant":
            chosen[name] = sources.schema if name == "schema" else variable["query"]
        elif variable.get("includeAll"):
            chosen[name] = variable["allValue"]
        else:
            options = _options(variable, sources, span, chosen)
            chosen[name] = options[0] if options else ""
    return chosen


def options(page: dict[str, Any], sources: Sources, span: Span) -> dict[str, list[str]]:
    """What each variable that asks a server has to choose from."""
    chosen = variables(page, sources, span)
    asked = [one for one in page.get("templating", {}).get("list", []) if one["type"] == "query"]
    return {one["name"]: _options(one, sources, span, chosen) for one in asked}


def panels(page: dict[str, Any], sources: Sources, span: Span) -> Iterator[Answered]:
    """Every panel of the page, asked one after the other."""
    chosen = variables(page, sources, span)
    for panel in page["panels"]:
        if panel["type"] == "row":
            continue
        answered = Answered(panel)
        for target in panel["targets"]:
            answered.asked.append(_asked(panel, target, sources, span, chosen))
        yield answered


def _options(variable: dict[str, Any], sources: Sources, span: Span, chosen: dict[str, str]) -> list[str]:
    if variable["datasource"]["uid"] == "prometheus":
        found = LABEL_VALUES.fullmatch(variable["query"])
        if not found:
            raise ValueError(f"not a query for a variable: {variable['query']}")
        return sources.prometheus.label_values(found[1], found[2], span)
    rows = ask.select(sources.postgres, fill.sql(variable["query"], span, 24, "1ms", chosen))
    return [str(row[0]) for row in rows.rows]


def _asked(
    panel: dict[str, Any], target: dict[str, Any], sources: Sources, span: Span, chosen: dict[str, str]
) -> Asked:
    columns = panel["gridPos"]["w"]
    began = time.monotonic()
    answer: list[Series] | Rows
    if panel["datasource"]["uid"] == "prometheus":
        scrape = sources.prometheus.scrape_interval()
        query, step = fill.promql(target["expr"], span, columns, panel.get("interval", scrape), chosen)
        server = sources.prometheus
        found = server.at(query, span.end) if target.get("instant") else server.over(query, span, step)
        answer = ask.series_of(found, target["legendFormat"])
    else:
        query = fill.sql(target["rawSql"], span, columns, panel.get("interval", "1ms"), chosen)
        answer = ask.select(sources.postgres, query)
        if target["format"] == "time_series":
            answer = ask.series_of_rows(answer)
    return Asked(query, answer, time.monotonic() - began)
