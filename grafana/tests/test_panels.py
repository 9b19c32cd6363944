"""Every panel asked of a real Prometheus and a real PostgreSQL, behind a real processor that scored real payments."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from alerts import RUNBOOKS
from conftest import HOSTILE, Scored
from PIL import Image

from vigie_dashboards import COMMITTED, answer, ask, files, running
from vigie_dashboards.answer import Answered
from vigie_dashboards.ask import RefusedError, Rows
from vigie_dashboards.draw import page as pictures

PAGES = files.committed()
PANELS = [
    pytest.param(name, panel["id"], id=f"{name}-{panel['title']}")
    for name, page in PAGES.items()
    for panel in page["panels"]
    if panel["type"] != "row"
]


@pytest.fixture(scope="session")
def answered(scored: Scored) -> dict[str, list[Answered]]:
    return {name: list(answer.panels(page, scored.sources, scored.spans[name])) for name, page in PAGES.items()}


def only(page: dict[str, Any], title: str, **target: str) -> dict[str, Any]:
    """The page with this panel alone, asking something else."""
    [panel] = [panel for panel in page["panels"] if panel["title"] == title]
    return {**page, "panels": [{**panel, "targets": [{**panel["targets"][0], **target}]}]}


@pytest.mark.parametrize(("name", "number"), PANELS)
def test_a_panel_is_answered(answered: dict[str, list[Answered]], name: str, number: int) -> None:
    [panel] = [one for one in answered[name] if one.panel["id"] == number]
    for asked in panel.asked:
        assert not asked.is_empty, f"nothing came back for {asked.query}"


def test_every_variable_has_something_to_choose(scored: Scored) -> None:
    found = {name: answer.options(page, scored.sources, scored.spans[name]) for name, page in PAGES.items()}
    assert scored.run.page.split("/")[2] in found["operations"]["instance"]
    assert found["fraud"] == found["yesterday"] == {"stream": ["1"], "currency": ["none"]}


def test_the_figures_are_those_of_what_was_sent(scored: Scored, answered: dict[str, list[Answered]]) -> None:
    values = {
        panel.title: panel.asked[0].answer.rows[0][0]
        for panel in answered["fraud"]
        if isinstance(panel.asked[0].answer, Rows)
    }
    sent = running.payments()
    # The four broken ones are no payments, and the one that made the topic is years old.
    assert values["Payments"] == scored.sent - 4 - 1
    frauds = sum(row["is_fraud"] == "1" for row in sent) + 10 * len(HOSTILE)
    assert values["Fraud, basis points"] == pytest.approx(10_000 * frauds / (scored.sent - 5))
    [letters] = [panel for panel in answered["yesterday"] if panel.title == "Dead letters by reason"]
    assert isinstance(letters.asked[0].answer, Rows)
    assert sum(float(str(row[1])) for row in letters.asked[0].answer.rows) == 4


def test_a_metric_or_a_column_that_does_not_exist_is_noticed(scored: Scored) -> None:
    operations = only(PAGES["operations"], "Lag in seconds", expr="max(vigie_oldest_mesage_age_seconds)")
    [panel] = answer.panels(operations, scored.sources, scored.spans["operations"])
    assert panel.asked[0].is_empty
    for wrong in ("SELECT sum(payment) FROM $schema.v_hourly", "SELECT 1 FROM $schema.payments_scored"):
        fraud = only(PAGES["fraud"], "Payments", rawSql=wrong)
        with pytest.raises(RefusedError, match=r"does not exist|permission denied"):
            list(answer.panels(fraud, scored.sources, scored.spans["fraud"]))


def test_every_view_that_the_panels_name_is_one_that_the_reader_may_read(scored: Scored) -> None:
    text = "\n".join((COMMITTED / f"{name}.json").read_text() for name in PAGES)
    named = set(re.findall(r"\$schema\.(\w+)", text))
    assert len(named) >= 10
    for view in named:
        assert ask.select(scored.sources.postgres, f"SELECT FROM {scored.run.schema}.{view} LIMIT 1") is not None


def test_every_query_of_the_runbooks_runs_as_the_desk(scored: Scored) -> None:
    text = "\n".join(page.read_text() for page in sorted(RUNBOOKS.glob("*.md")))
    queries = re.findall(r"SELECT [^;`]+(?=[;`])", text)
    assert len(queries) >= 6
    with running.connect("vigie_desk", "desk_password") as desk:
        for query in queries:
            assert ask.select(desk, query.replace("vigie.", f"{scored.run.schema}.")) is not None


def test_hostile_merchants_come_back_as_the_text_that_was_sent(
    scored: Scored, answered: dict[str, list[Answered]]
) -> None:
    for name, title in (("fraud", "Merchants at risk"), ("yesterday", "Merchants")):
        [panel] = [one for one in answered[name] if one.title == title]
        assert isinstance(panel.asked[0].answer, Rows)
        at = panel.asked[0].answer.columns.index("merchant")
        assert set(HOSTILE) <= {row[at] for row in panel.asked[0].answer.rows}
    assert scored.run.total('vigie_events_total{outcome="dead"}') == 4


def test_an_empty_database_leaves_panels_empty_and_none_wrong(scored: Scored) -> None:
    long_ago = datetime.fromisoformat("2001-01-01T00:00:00+00:00")
    for name, page in PAGES.items():
        span = scored.spans[name]
        shifted = type(span)(long_ago, long_ago + (span.end - span.start))
        for panel in answer.panels(page, scored.sources, shifted):
            assert panel.asked


def test_each_dashboard_is_drawn_into_a_picture_of_bearable_size(
    scored: Scored, answered: dict[str, list[Answered]], tmp_path: Path
) -> None:
    for name, page in PAGES.items():
        file = tmp_path / f"{name}.png"
        pictures.draw(page, answered[name], scored.spans[name], file)
        assert file.stat().st_size < 500_000
        with Image.open(file) as picture:
            colors = picture.convert("RGB").getcolors(maxcolors=1 << 16)
            assert colors is not None and len(colors) > 20
