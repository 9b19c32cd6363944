"""What is written into the pictures."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from vigie_dashboards import files
from vigie_dashboards.answer import Answered, Asked
from vigie_dashboards.ask import Rows
from vigie_dashboards.draw import page, theme, units
from vigie_dashboards.fill import Span

DAY = Span(datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC) - timedelta(milliseconds=1))


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "written"),
    [
        (0.0123, "percentunit", 2, "1.23%"),
        (0.35, "s", None, "350 ms"),
        (95.0, "s", None, "1.58 min"),
        (0, "s", 1, "0 s"),
        (1_234_567, "short", 1, "1.23 M"),
        (1_234_567.891, "locale", 2, "1,234,567.89"),
        (3 * 1024**2, "bytes", None, "3 MiB"),
        (12.5, "cps", None, "12.5/s"),
        (None, "s", None, "-"),
        (float("nan"), "s", None, "-"),
    ],
)
def test_numbers_are_written_with_their_unit(
    value: float | None, unit: str, decimals: int | None, written: str
) -> None:
    assert units.number(value, unit, decimals) == written


def test_texts_that_look_like_commands_to_the_drawing_are_drawn_as_they_are(tmp_path: Path) -> None:
    fraud = files.committed()["fraud"]
    panel = next(panel for panel in fraud["panels"] if panel["title"] == "Merchants at risk")
    hostile = ["$\\frac{1}{", "<script>alert(1)</script>", "line\nbreak\x00\x1b[2J", "=HYPERLINK(1)", "𓀀𓀀 ￿"]
    rows = Rows(["merchant", "payments", "not allowed", "share", "at risk", "fraud"],
                [(text, 1.0, 1.0, 1.0, 9.5, 0.0) for text in hostile])  # fmt: skip
    picture = tmp_path / "fraud.png"
    page.draw(fraud, [Answered(panel, [Asked("", rows, 0.0)])], DAY, picture)
    with Image.open(picture) as drawn:
        assert drawn.width == theme.WIDTH
    assert units.plain("line\nbreak\x1b") == "line·break·"
