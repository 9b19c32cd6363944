"""The committed dashboards: current, well-formed, and nothing in them that renders what a payment brought."""

from itertools import combinations
from typing import Any

import pytest
import yaml
from alerts import ROOT

from vigie_dashboards import COMMITTED, files
from vigie_dashboards.draw.panels import KINDS

PAGES = files.committed()
SOURCES = yaml.safe_load((ROOT / "grafana/provisioning/datasources/vigie.yml").read_text())["datasources"]


def panels(page: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in page["panels"] if panel["type"] != "row"]


def everything_in(tree: object) -> list[tuple[str, object]]:
    """Every key of the whole tree, with what it holds."""
    if isinstance(tree, dict):
        return [pair for key, value in tree.items() for pair in [(str(key), value), *everything_in(value)]]
    return [pair for value in tree for pair in everything_in(value)] if isinstance(tree, list) else []


def test_the_committed_dashboards_are_what_the_code_builds() -> None:
    for name, text in files.built().items():
        assert (COMMITTED / f"{name}.json").read_text() == text, f"run make dashboards: {name}.json is not current"
    assert {file.stem for file in COMMITTED.iterdir()} == set(files.built())


def test_each_data_source_is_provisioned_under_the_uid_that_the_panels_name() -> None:
    provisioned = {source["uid"]: source["type"] for source in SOURCES}
    assert len(provisioned) == len(SOURCES)
    for page in PAGES.values():
        named = [value for key, value in everything_in(page) if key == "datasource" and isinstance(value, dict)]
        assert named
        assert all(provisioned[source["uid"]] == source["type"] for source in named)


def test_the_data_sources_read_as_the_reader_with_a_password_from_a_file_as_often_as_prometheus_scrapes() -> None:
    sources = {source["uid"]: source for source in SOURCES}
    assert sources["postgres"]["user"] == "vigie_reader"
    assert sources["postgres"]["secureJsonData"]["password"] == "$__file{/run/secrets/reader_password}"  # noqa: S105
    scrape = yaml.safe_load((ROOT / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert sources["prometheus"]["jsonData"]["timeInterval"] == scrape


@pytest.mark.parametrize("name", PAGES)
def test_every_panel_says_what_it_shows_and_has_a_place_of_its_own(name: str) -> None:
    page = PAGES[name]
    numbers = [panel["id"] for panel in page["panels"]]
    assert len(set(numbers)) == len(numbers)
    for panel in panels(page):
        assert panel["title"] and panel["description"].endswith("."), panel["title"]
        assert panel["targets"], panel["title"]
        at = panel["gridPos"]
        assert at["x"] >= 0 and at["x"] + at["w"] <= 24, panel["title"]
    for one, other in combinations(page["panels"], 2):
        a, b = one["gridPos"], other["gridPos"]
        is_beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert is_beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"], (one["title"], other["title"])


@pytest.mark.parametrize("name", PAGES)
def test_what_a_payment_brought_is_shown_as_text_and_leads_nowhere(name: str) -> None:
    page = PAGES[name]
    assert {panel["type"] for panel in panels(page)} <= set(KINDS), "a kind of panel that nobody looked at"
    found = everything_in(page)
    # Cells that render markdown, HTML or images, links made of values, texts with HTML, transformations.
    for key in ("cellOptions", "custom.cellOptions"):
        assert all(value == {"type": "color-text"} for name, value in found if name == key)
    cells = [value for key, value in found if key == "value" and isinstance(value, dict) and "type" in value]
    assert all(value["type"] in ("color-text",) for value in cells)
    assert not any(key in ("content", "links", "dataLinks", "transformations") and value for key, value in found)
