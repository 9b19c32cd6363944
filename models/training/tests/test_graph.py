"""The exported graph against the library that trained it."""

from __future__ import annotations

from dataclasses import replace

import lightgbm as lgb
import numpy as np
import onnxruntime
import pytest
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

from vigie_training.bundle import Bundle
from vigie_training.fit import Model, fit
from vigie_training.graph import build_graph, graph_scores, load
from vigie_training.table import Table
from vigie_training.trees import float32_below


@pytest.fixture(scope="module")
def model(card: Bundle, invented: Table) -> Model:
    now = (
        invented.time - invented.time[3000] + 1_584_230_400_000_000
    )  # 3,000 rows lie before the validation period
    return fit(card, replace(invented, time=now), trees=20)


def test_the_graph_scores_as_lightgbm_does(model: Model, invented: Table) -> None:
    found = graph_scores(load(build_graph(model.preprocessing, model.booster)), invented)
    expected = model.scores(invented)
    assert expected.max() - expected.min() > 0.5
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_values_that_training_never_lacked_may_be_missing(model: Model, invented: Table) -> None:
    nothing = np.full(len(invented), np.nan, dtype=np.float32)
    numbers = {**invented.numbers, "amt": nothing, "age": nothing, "hour": nothing, "count_24h": nothing}
    unknown = replace(
        invented, numbers=numbers, texts={"category": np.full(len(invented), "new", dtype=object)}
    )
    found = graph_scores(load(build_graph(model.preprocessing, model.booster)), unknown)
    np.testing.assert_allclose(found, model.scores(unknown), atol=1e-6)
    assert not np.isnan(found).any()


def test_a_row_scores_the_same_alone_and_among_others(model: Model, invented: Table) -> None:
    session = load(build_graph(model.preprocessing, model.booster))
    first = np.arange(len(invented)) < 2
    np.testing.assert_array_equal(
        graph_scores(session, invented.where(first)), graph_scores(session, invented)[:2]
    )


def test_inputs_are_named_as_the_features_and_outputs_are_a_label_and_two_columns(
    model: Model, card: Bundle
) -> None:
    session = load(build_graph(model.preprocessing, model.booster))
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        (f.name, "tensor(string)" if f.name == "category" else "tensor(float)", ["N", 1])
        for f in card.features
    ]
    assert [(o.name, o.type, o.shape) for o in session.get_outputs()] == [
        ("label", "tensor(int64)", ["N"]),
        ("probabilities", "tensor(float)", ["N", 2]),
    ]


def test_the_public_converter_agrees(model: Model, invented: Table) -> None:
    booster = lgb.Booster(model_str=model.booster.model_to_string())
    matrix = model.preprocessing.matrix(invented)
    shape = [("matrix", FloatTensorType([None, matrix.shape[1]]))]
    converted = convert_lightgbm(booster, initial_types=shape, zipmap=False, target_opset=15)
    session = onnxruntime.InferenceSession(converted.SerializeToString())
    theirs = session.run(None, {"matrix": matrix})[1][:, 1]
    ours = graph_scores(load(build_graph(model.preprocessing, model.booster)), invented)
    assert np.mean(np.abs(theirs - ours) < 1e-6) > 0.999  # thresholds that they round up move single rows


def test_training_twice_gives_the_same_graph(model: Model, card: Bundle, invented: Table) -> None:
    now = invented.time - invented.time[3000] + 1_584_230_400_000_000
    again = fit(card, replace(invented, time=now), trees=20)
    graphs = [
        build_graph(m.preprocessing, m.booster).SerializeToString(deterministic=True) for m in (model, again)
    ]
    assert graphs[0] == graphs[1]


def test_a_threshold_is_rounded_down_to_float32() -> None:
    one = np.float32(1.0)
    above = np.nextafter(one, np.float32(2))
    middle = (float(one) + float(above)) / 2
    assert float32_below(middle) == 1.0
    assert float32_below(np.nextafter(float(above), 0.0)) == 1.0
    assert float32_below(float(above)) == float(above)
    assert float32_below(-0.1) <= -0.1
