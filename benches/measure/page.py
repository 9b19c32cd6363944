"""Vigie's page of metrics."""

from __future__ import annotations

import re
import urllib.request

LINE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Page = dict[tuple[str, frozenset[tuple[str, str]]], float]


def is_ready(address: str) -> bool:
    """Whether /readyz says so."""
    try:
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def scrape(address: str) -> Page:
    """Every series and its value."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    page: Page = {}
    for line in text.splitlines():
        if match := LINE.match(line):
            name, labels, value = match.groups()
            page[name, frozenset(LABEL.findall(labels or ""))] = float(value)
    return page


def stage_seconds(page: Page) -> dict[str, float]:
    """Time spent in each stage, over all lanes."""
    return {
        dict(labels)["stage"]: value
        for (name, labels), value in page.items()
        if name == "vigie_stage_seconds_sum"
    }


def quantile(before: Page, after: Page, name: str, share: float) -> float:
    """A quantile of a histogram between two pages, by Prometheus's interpolation inside a bucket."""
    buckets = []
    for (series, labels), value in after.items():
        if series == f"{name}_bucket":
            bound = float(dict(labels)["le"].replace("+Inf", "inf"))
            buckets.append((bound, value - before.get((series, labels), 0.0)))
    buckets.sort()
    if not buckets or not buckets[-1][1]:
        return float("nan")
    wanted = share * buckets[-1][1]
    low, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted:
            return low if bound == float("inf") else low + (bound - low) * (wanted - below) / (count - below)
        low, below = bound, count
    return low
