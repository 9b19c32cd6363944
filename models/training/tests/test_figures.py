"""Thresholds, figures, histograms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from vigie_training.bundle import Bundle
from vigie_training.evaluate import Scored, evaluate
from vigie_training.fit import choose_thresholds
from vigie_training.histograms import histogram, quantile_edges, write_reference
from vigie_training.table import Table


def scored(rows: int = 3000) -> Scored:
    rng = np.random.default_rng(5)
    label = (rng.random(rows) < 0.1).astype(np.int8)
    score = np.round(np.clip(label * 0.4 + rng.normal(0.3, 0.2, rows), 0, 1), 2).astype(np.float32)
    card = [f"card {number}" for number in rng.integers(0, 100, rows)]
    return Scored(label, score, card, rng.gamma(1.0, 50.0, rows).astype(np.float32))


def test_average_precision_is_that_of_scikit_learn_ties_included() -> None:
    rows = scored()
    found = evaluate(rows, 0.5, resamples=10).average_precision.value
    assert found == pytest.approx(average_precision_score(rows.label, rows.score), rel=1e-12)


def test_a_threshold_counts_what_it_catches() -> None:
    rows = Scored(
        np.array([1, 1, 1, 0], dtype=np.int8),
        np.array([0.9, 0.5, 0.1, 0.5], dtype=np.float32),
        ["a", "a", "b", "c"],
        np.array([10, 20, 70, 5], dtype=np.float32),
    )
    quality = evaluate(rows, 0.5, resamples=10)
    assert (quality.rows, quality.frauds, quality.cards) == (4, 3, 3)
    assert quality.precision.value == pytest.approx(2 / 3)
    assert quality.recall.value == pytest.approx(2 / 3)
    assert quality.f1.value == pytest.approx(2 / 3)
    assert quality.amount_caught == pytest.approx(0.3)


def test_the_interval_holds_the_value() -> None:
    quality = evaluate(scored(), 0.5, resamples=200)
    for figure in (quality.average_precision, quality.precision, quality.recall, quality.f1):
        assert figure.low < figure.value < figure.high


def test_thresholds_are_the_best_f1_and_the_lowest_precise_score() -> None:
    label = np.array([0] * 50 + [1, 0, 1, 1, 1], dtype=np.int8)
    scores = np.array([0.01] * 50 + [0.20, 0.40, 0.45678, 0.80, 0.90])
    chosen = choose_thresholds(label, scores)
    assert (
        chosen.review == 0.2
    )  # three honest payments in four or all frauds and one honest: F1 6/7 against 8/9
    assert chosen.block == 0.4567


def test_a_histogram_puts_a_value_on_an_edge_above_it() -> None:
    found = histogram(np.array([0.5, 1.0, 1.5, 2.0, 9.0, np.nan]), np.array([1.0, 2.0]))
    assert found == {"edges": [1.0, 2.0], "counts": [1, 2, 2], "missing": 1}


def test_edges_of_a_column_of_one_value_are_none() -> None:
    assert len(quantile_edges(np.zeros(10))) == 0
    assert len(quantile_edges(np.full(10, np.nan))) == 0
    assert len(quantile_edges(np.arange(1000.0))) == 19


def test_the_reference_has_every_row_of_every_feature(card: Bundle, invented: Table, tmp_path: Path) -> None:
    write_reference(card, tmp_path / "reference.json", invented, np.linspace(0, 1, len(invented)))
    content = json.loads((tmp_path / "reference.json").read_text(encoding="utf-8"))
    assert list(content["features"]) == [feature.name for feature in card.features]
    assert sum(content["features"]["category"]["categories"].values()) == len(invented)
    for counted in (content["score"], *(content["features"][name] for name in card.number_features)):
        assert len(counted["counts"]) == len(counted["edges"]) + 1
        assert sum(counted["counts"]) + counted["missing"] == len(invented)
