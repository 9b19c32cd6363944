"""How good the model is, with intervals that know that a card's payments belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A figure and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """For the model card."""
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True)
class Quality:
    """Ranking, and what a threshold catches."""

    rows: int
    frauds: int
    cards: int
    average_precision: Figure
    precision: Figure
    recall: Figure
    f1: Figure
    amount_caught: float


@dataclass(frozen=True)
class Scored:
    """Scored rows, each with its label, card and amount."""

    label: npt.NDArray[np.int8]
    score: npt.NDArray[np.float32]
    card: Sequence[str]
    amount: npt.NDArray[np.float32]


def average_precision(hit: Floats, weight: Floats, ends: npt.NDArray[np.intp]) -> float:
    """The area under precision over recall of rows sorted by falling score; `ends` closes each tied group."""
    caught = np.cumsum(hit * weight)[ends]
    flagged = np.cumsum(weight)[ends]
    precision = np.divide(caught, flagged, out=np.zeros_like(caught), where=flagged > 0)
    return float(np.sum(np.diff(caught, prepend=0.0) * precision) / caught[-1])


def evaluate(rows: Scored, threshold: float, resamples: int = 1000) -> Quality:
    """Figures at the threshold, with the percentiles of a bootstrap that draws whole cards."""
    order = np.argsort(-rows.score, kind="stable")
    score, hit = rows.score[order], rows.label[order].astype(np.float64)
    cards, card = np.unique(np.asarray(rows.card)[order], return_inverse=True)
    ends = np.flatnonzero(np.append(np.diff(score) != 0, True))
    flagged = score >= np.float32(threshold)
    by_card = np.stack(
        [
            np.bincount(card, weights=hit * flagged, minlength=len(cards)),
            np.bincount(card, weights=flagged.astype(np.float64), minlength=len(cards)),
            np.bincount(card, weights=hit, minlength=len(cards)),
        ]
    )

    def figures(drawn: Floats) -> tuple[float, float, float, float]:
        caught, alerts, frauds = by_card @ drawn
        precision, recall = caught / max(alerts, 1.0), caught / max(frauds, 1.0)
        ranking = average_precision(hit, drawn[card], ends)
        return ranking, precision, recall, 2 * caught / max(alerts + frauds, 1.0)

    rng = np.random.default_rng(7)
    draws = [rng.multinomial(len(cards), np.full(len(cards), 1 / len(cards))) for _ in range(resamples)]
    samples = np.array([figures(draw.astype(np.float64)) for draw in draws])
    low, high = np.percentile(samples, [2.5, 97.5], axis=0)
    values = figures(np.ones(len(cards)))
    ranking, precision, recall, f1 = (Figure(*figure) for figure in zip(values, low, high, strict=True))
    amount = rows.amount[order].astype(np.float64) * hit
    caught_amount = float((amount * flagged).sum() / amount.sum())
    return Quality(len(hit), int(hit.sum()), len(cards), ranking, precision, recall, f1, caught_amount)
