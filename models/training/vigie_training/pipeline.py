"""The whole training as one sentence: features, fit, graph, parity, figures, golden rows, model card."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from vigie_training.bundle import Bundle, read_bundle, write_thresholds
from vigie_training.evaluate import Quality, Scored, evaluate
from vigie_training.fit import TREES, VALIDATION_START, Model, Thresholds, choose_thresholds, fit
from vigie_training.golden import GoldenFeatures, golden_features, write_golden
from vigie_training.graph import build_graph, graph_scores, load, microseconds_per_row
from vigie_training.histograms import write_reference
from vigie_training.model_card import Results, write_model_card
from vigie_training.serving import Vigie
from vigie_training.table import Table, accounts, merge_in_time_order, read_features

TEST_START = datetime(2020, 6, 1, tzinfo=UTC)
PARITY = 1e-4
PARITY_ROWS = 100_000

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Inputs:
    """What a training needs: the bundle, two files of transactions, the serving program, a scratch folder."""

    bundle: Path
    data: Path
    test: Path
    vigie: Path
    work: Path


def train(inputs: Inputs) -> None:
    """Makes the bundle's model and everything beside it, and refuses a graph that differs from its trees."""
    inputs.work.mkdir(parents=True, exist_ok=True)
    bundle = read_bundle(inputs.bundle)
    vigie = Vigie(inputs.vigie, bundle)

    say("features of the training file")
    vigie.features(inputs.data, inputs.work / "train.parquet")
    table = read_features(bundle, inputs.work / "train.parquet")

    say("fitting")
    model = fit(bundle, table)
    model.booster.save_model(inputs.work / "booster.txt")
    validation = table.where(~table.before(VALIDATION_START))
    thresholds = choose_thresholds(validation.label, model.scores(validation))
    graph = build_graph(model.preprocessing, model.booster)
    onnx.save(graph, bundle.path / "model.onnx")
    write_thresholds(bundle, thresholds.review, thresholds.block)

    session = load(bundle.path / "model.onnx")
    scores = graph_scores(session, table)
    parity = difference(model.scores(table), scores, "graph and LightGBM")
    if len(table) < PARITY_ROWS:
        raise ValueError(f"parity wants at least {PARITY_ROWS} rows, found {len(table)}")

    say("golden rows and histograms")
    golden = golden_features(bundle)
    golden_scores = model.scores(golden_table(bundle, golden))
    write_golden(bundle, bundle.path / "golden.jsonl", golden, golden_scores)
    write_reference(bundle, bundle.path / "reference.json", table, scores)

    say("the test period, its cards' history replayed")
    replay = inputs.work / "replay.csv"
    merge_in_time_order(bundle, inputs.data, inputs.test, replay)
    served = vigie.scores(replay, inputs.work / "replay.parquet")
    replayed = read_features(bundle, inputs.work / "replay.parquet")
    test = replayed.where(~replayed.before(TEST_START))
    test_scores = np.array([served[id_] for id_ in test.ids], dtype=np.float32)
    served_parity = difference(model.scores(test), test_scores, "served scores and LightGBM")

    def quality(rows: Table, of: Scores, threshold: float, source: Path) -> Quality:
        card = accounts(bundle, source)
        amount = rows.numbers[bundle.amount_feature]
        return evaluate(Scored(rows.label, of, [card[id_] for id_ in rows.ids], amount), threshold)

    results = Results(
        thresholds=thresholds,
        validation=quality(
            validation, scores[~table.before(VALIDATION_START)], thresholds.review, inputs.data
        ),
        test_review=quality(test, test_scores, thresholds.review, inputs.test),
        test_block=quality(test, test_scores, thresholds.block, inputs.test),
        parity_rows=len(table),
        parity=parity,
        served=served_parity,
        golden_rows=len(golden.events),
    )
    write_model_card(bundle, bundle.path / "MODEL_CARD.md", model, results, TREES)
    report(results, thresholds, model)
    say(f"{microseconds_per_row(session, validation):.2f} µs a row, one thread, batches of 2,000")


def golden_table(bundle: Bundle, golden: GoldenFeatures) -> Table:
    """The golden features as a table, in the types of the graph's inputs."""
    names = [feature.name for feature in bundle.features]
    columns = dict(zip(names, zip(*golden.rows, strict=True), strict=True))
    count = len(golden.rows)
    return Table(
        ids=np.arange(count).astype(object),
        time=np.zeros(count, dtype=np.int64),
        label=np.zeros(count, dtype=np.int8),
        numbers={
            name: np.array([np.nan if v is None else v for v in columns[name]], dtype=np.float32)
            for name in bundle.number_features
        },
        texts={
            name: np.array([v or "" for v in columns[name]], dtype=object) for name in bundle.text_features
        },
    )


def difference(expected: npt.NDArray[np.float64], found: Scores, of: str) -> float:
    """The largest difference of two columns of scores; more than 1e-4 ends the training."""
    largest = float(np.abs(expected - found).max())
    say(f"{of} differ by at most {largest:.1e} on {len(found):,} rows")
    if not largest <= PARITY:
        raise ValueError(f"{of} differ by {largest}, at most {PARITY} is allowed")
    return largest


def report(results: Results, thresholds: Thresholds, model: Model) -> None:
    """The figures in short."""
    test = results.test_review
    say(f"{model.booster.num_trees()} trees; review {thresholds.review:.4f}, block {thresholds.block:.4f}")
    say(f"validation: average precision {results.validation.average_precision}, F1 {results.validation.f1}")
    say(f"test: average precision {test.average_precision}, F1 {test.f1}")
    say(f"at block: precision {results.test_block.precision}, recall {results.test_block.recall}")


def say(text: str) -> None:
    """A line for the person who waits."""
    print(f"train [{time.strftime('%H:%M:%S')}] {text}", flush=True)
