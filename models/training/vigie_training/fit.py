"""Fits the trees and chooses the thresholds. Only the training file is seen here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from sklearn.metrics import precision_recall_curve

from vigie_training.bundle import Bundle
from vigie_training.preprocess import Preprocessing, learn_preprocessing
from vigie_training.table import Table

VALIDATION_START = datetime(2020, 3, 15, tzinfo=UTC)
BLOCK_PRECISION = 0.98
TREES = 120
PATIENCE = 20
# Chosen on the validation period. More trees rank a little better still, but the graph's cost grows too.
PARAMETERS: dict[str, str | int | float | bool] = {
    "objective": "binary",
    "metric": "average_precision",
    "learning_rate": 0.12,
    "num_leaves": 31,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "seed": 7,
    "num_threads": 2,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}

Scores = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Model:
    """What was learned."""

    preprocessing: Preprocessing
    booster: lgb.Booster
    fitted: int
    validated: int
    fitted_frauds: int
    validated_frauds: int

    def scores(self, table: Table) -> npt.NDArray[np.float64]:
        """The probability of fraud by the training library."""
        return np.asarray(self.booster.predict(self.preprocessing.matrix(table), num_threads=1))


@dataclass(frozen=True)
class Thresholds:
    """From which score on a payment is reviewed, and blocked."""

    review: float
    block: float


def fit(bundle: Bundle, table: Table, trees: int = TREES) -> Model:
    """Fits on the rows before the validation period and stops early on those from then on."""
    before = table.before(VALIDATION_START)
    past, later = table.where(before), table.where(~before)
    preprocessing = learn_preprocessing(bundle, past)
    data = lgb.Dataset(
        preprocessing.matrix(past),
        past.label,
        feature_name=preprocessing.columns,
        params={"verbosity": -1},
    )
    booster = lgb.train(
        PARAMETERS,
        data,
        trees,
        valid_sets=[data.create_valid(preprocessing.matrix(later), later.label)],
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    best = lgb.Booster(model_str=booster.model_to_string(num_iteration=booster.best_iteration))
    return Model(preprocessing, best, len(past), len(later), int(past.label.sum()), int(later.label.sum()))


def choose_thresholds(label: Labels, scores: Scores) -> Thresholds:
    """Review: where F1 is largest. Block: the lowest score from which precision is at least 0.98.

    Both are rounded down to four digits, as written into the bundle; block is never below review.
    """
    precision, recall, threshold = precision_recall_curve(label, scores)
    precision, recall = precision[:-1], recall[:-1]
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    review = float(threshold[f1.argmax()])
    block = float(threshold[np.argmax(precision >= BLOCK_PRECISION)])
    return Thresholds(round_down(review), round_down(max(review, block)))


def round_down(threshold: float) -> float:
    """Four digits, and never 0: everything would be reviewed."""
    return max(0.0001, int(threshold * 10000) / 10000)
