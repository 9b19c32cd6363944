"""The committed golden rows."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from vigie_training.bundle import Bundle
from vigie_training.golden import CARD_LIKE, figure, golden_features
from vigie_training.golden_events import golden_events, luhn
from vigie_training.graph import graph_scores, load
from vigie_training.pipeline import golden_table


@pytest.fixture(scope="module")
def lines(card: Bundle) -> list[str]:
    return (card.path / "golden.jsonl").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def rows(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def test_every_line_has_the_features_in_order_and_a_probability(
    card: Bundle, rows: list[dict[str, Any]]
) -> None:
    assert len(rows) >= 300
    for row in rows:
        assert list(row) == ["event", "features", "score"]
        assert list(row["features"]) == [feature.name for feature in card.features]
        assert 0.0 <= row["score"] <= 1.0
    assert min(row["score"] for row in rows) < 0.01
    assert max(row["score"] for row in rows) > 0.9


def test_events_are_those_of_the_story(lines: list[str]) -> None:
    for line, event in zip(lines, golden_events(), strict=True):
        assert line.startswith('{"event":' + event + ',"features":')


def test_features_come_out_of_the_reference_again(card: Bundle, rows: list[dict[str, Any]]) -> None:
    for row, expected in zip(rows, golden_features(card).rows, strict=True):
        assert list(row["features"].values()) == [
            value if value is None or isinstance(value, str) else pytest.approx(value, rel=1e-9)
            for value in expected
        ]


def test_the_committed_graph_gives_the_scores(card: Bundle, rows: list[dict[str, Any]]) -> None:
    found = graph_scores(load(card.path / "model.onnx"), golden_table(card, golden_features(card)))
    np.testing.assert_allclose(found, [row["score"] for row in rows], atol=1e-4)


def test_nothing_in_it_may_be_taken_for_a_card_number(card: Bundle) -> None:
    found = CARD_LIKE.findall((card.path / "golden.jsonl").read_text(encoding="utf-8"))
    numbers = {re.sub("[ -]", "", text) for text in found}
    assert {len(number) for number in numbers} == {11, 12, 13, 14, 15, 16, 18, 19}
    assert not [number for number in numbers if luhn(number)]


def test_the_luhn_test_knows_a_good_number() -> None:
    assert luhn("0" * 12 + "18")
    assert not luhn("0" * 12 + "19")


def test_figures_never_have_eleven_digits_in_a_row() -> None:
    assert figure(1 / 3) == "0.3333333333"
    assert figure(0.00012345678912) == "1.234567891e-04"
    assert figure(12.0) == "12"
    assert figure(None) == "null"
