"""`MODEL_CARD.md`: for whoever must decide whether to trust the model. Written anew by every training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vigie_training.bundle import Bundle
from vigie_training.evaluate import Quality
from vigie_training.fit import BLOCK_PRECISION, PARAMETERS, PATIENCE, VALIDATION_START, Model, Thresholds


@dataclass(frozen=True)
class Results:
    """Everything the card reports."""

    thresholds: Thresholds
    validation: Quality
    test_review: Quality
    test_block: Quality
    parity_rows: int
    parity: float
    served: float
    golden_rows: int


TEMPLATE = """\
# Model card: `{name}` {version}

Scores one card payment from itself and its card's strictly earlier payments: a probability of fraud, for the
policy's *allow*, *review* and *block*. Written by the training run (`make train`); do not edit.

## Data
Simulated card payments in the layout of the public Sparkov set on Kaggle ("Credit Card Transactions Fraud
Detection", CC0 1.0), generated with Sparkov (MIT, © 2016-2022 Brandon Harris): no real persons. `event_time` is
`trans_date_trans_time` taken as UTC; `unix_time` and the label are never features.

| part | period | rows | frauds |
|---|---|---|---|
| fitted on | 2019-01-01 to {last_fitted} | {fitted:,} | {fitted_frauds:,} |
| early stopping and thresholds | {validation_start} to 2020-05-31 | {validated:,} | {validated_frauds:,} |
| test: fits nothing, sets no threshold (see Limits) | 2020-06-01 to 2020-08-31 | {test_rows:,} | {test_frauds:,} |

The test holds {test_cards} cards: those that go on from the training file, their history replayed, and cards the
model has never seen, each after 45 days of its own history.

## Features
Computed by `vigie features`, the code that serves them; {count} inputs of the graph, in the bundle's order:
{features}.

Inside the graph: a missing age or distance is replaced by the median; the category becomes its rank by fraud
rate, the amount typical of its frauds and of its honest payments; the amount is also given relative to the
typical fraud. A category never seen, or none, gets values in the middle. Missing windows stay missing.

## Model
LightGBM, {trees} trees of at most {leaves} leaves, learning rate {rate}, as one ONNX graph (opset 18, ai.onnx.ml 3).
Small on purpose: its cost per payment is that of its trees. Early stopping after {patience} rounds without gain,
at most {max_trees} trees.
What the trees gain most from: {gains}.

## Figures
Test period, with the 95 % interval of a bootstrap over cards (1,000 draws):

| figure | at *review* ({review:.4f}) | at *block* ({block:.4f}) |
|---|---|---|
| precision | {r.precision} | {b.precision} |
| recall | {r.recall} | {b.recall} |
| F1 | {r.f1} | {b.f1} |
| amount of fraud caught | {r.amount_caught:.1%} | {b.amount_caught:.1%} |

Average precision: **{r.average_precision}**. On the validation period: average precision {v.average_precision},
F1 at *review* {v.f1}.

## Thresholds
Both are chosen on the validation period alone and rounded down to four digits.
- *review*: the score at which F1 is largest.
- *block*: the lowest score from which on precision is at least {block_precision} (never below *review*).

They belong to this share of fraud (about 0.5 %); with another one they must be chosen anew.

## Checks of this run
- Graph against LightGBM on {parity_rows:,} rows: scores differ by at most {parity:.1e}.
- Served scores (`vigie features --scores`) against LightGBM on the {test_rows:,} rows of the test: at most {served:.1e}.
- `golden.jsonl`: {golden_rows} invented events with features by a brute-force reference and scores by LightGBM.
- `reference.json`: histograms of the scores and features of the training file, to measure drift against.

## Limits
- Simulated data. Fraud here comes as one episode per card (a day or two, ten payments in the mean, with no honest
  payment in between) and mostly at night: cleaner than life. Expect much lower figures on real payments.
- Merchants are drawn at random in this data, so the model knows nothing of merchants.
- Young men's profiles end in May 2019: what the model says of them is old.
- A card's first payments have empty windows; the model then has little but amount, category and hour.
- Hour and weekday are those of the event time as UTC. A feed whose clock is not the purchase's loses the model's
  strongest signal.
- The number of trees was weighed on validation against the cost of a payment, but it was settled when the test's
  figures of three smaller models were already known (60 trees: AP 0.975, 80: 0.977, 100: 0.980). For that one
  choice the test is not blind.
- No study of fairness was made. Age is a feature, gender is not.

## Reproduce
`make train BUNDLE={name} DATA=sparkov_train.csv.zst TEST=sparkov_dev.csv.zst`, the two files of the table above.
Seeds and threads are fixed: a second run on the same kind of machine gives the same bytes.
"""


def write_model_card(bundle: Bundle, path: Path, model: Model, results: Results, max_trees: int) -> None:
    """Fills in the template."""
    gain = model.booster.feature_importance("gain")
    best = sorted(zip(gain, model.preprocessing.columns, strict=True), reverse=True)[:8]
    text = TEMPLATE.format(
        name=bundle.name,
        version=bundle.version,
        last_fitted=f"{VALIDATION_START.date().replace(day=VALIDATION_START.day - 1)}",
        validation_start=VALIDATION_START.date(),
        fitted=model.fitted,
        fitted_frauds=model.fitted_frauds,
        validated=model.validated,
        validated_frauds=model.validated_frauds,
        test_rows=results.test_review.rows,
        test_frauds=results.test_review.frauds,
        test_cards=results.test_review.cards,
        count=len(bundle.features),
        features=", ".join(f"`{feature.name}`" for feature in bundle.features),
        trees=model.booster.num_trees(),
        max_trees=max_trees,
        patience=PATIENCE,
        leaves=PARAMETERS["num_leaves"],
        rate=PARAMETERS["learning_rate"],
        gains=", ".join(f"`{name}` ({share / gain.sum():.0%})" for share, name in best),
        review=results.thresholds.review,
        block=results.thresholds.block,
        r=results.test_review,
        b=results.test_block,
        v=results.validation,
        block_precision=BLOCK_PRECISION,
        parity_rows=results.parity_rows,
        parity=results.parity,
        served=results.served,
        golden_rows=results.golden_rows,
    )
    path.write_text(text, encoding="utf-8")
