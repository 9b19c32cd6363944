"""The golden rows: raw events, their features by the reference, their scores by the training library."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vigie_training.bundle import Bundle
from vigie_training.decode import Value, decode, parse_json
from vigie_training.golden_events import golden_events
from vigie_training.reference import reference

# What a search for card numbers would look at: no written figure may be taken for one.
CARD_LIKE = re.compile(r"(?<![0-9A-Za-z])\d(?:[ -]?\d){10,18}(?![0-9A-Za-z])")


@dataclass(frozen=True)
class GoldenFeatures:
    """The events as sent, and a row of features for each, in the bundle's order."""

    events: list[str]
    rows: list[list[Value]]


def golden_features(bundle: Bundle, events: Iterable[str] | None = None) -> GoldenFeatures:
    """Runs the reference over the golden events."""
    sent = list(golden_events() if events is None else events)
    rows = reference(bundle, (decode(bundle, parse_json(event)) for event in sent))
    complete = [row for row in rows if row is not None]
    if len(complete) != len(sent):
        raise ValueError("a golden event must not be a duplicate: it would have no features")
    return GoldenFeatures(sent, complete)


def write_golden(bundle: Bundle, path: Path, golden: GoldenFeatures, scores: Iterable[float]) -> None:
    """One line an event: `{"event": …, "features": {name: number|string|null}, "score": …}`."""
    names = [feature.name for feature in bundle.features]
    with path.open("w", encoding="utf-8") as file:
        for event, row, score in zip(golden.events, golden.rows, scores, strict=True):
            features = ",".join(f'"{name}":{figure(value)}' for name, value in zip(names, row, strict=True))
            file.write(f'{{"event":{event},"features":{{{features}}},"score":{figure(float(score))}}}\n')


def figure(value: Value) -> str:
    """JSON with ten significant digits, in a form that no card number has."""
    if value is None or isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    text = f"{float(value):.10g}"
    return f"{float(value):.9e}" if CARD_LIKE.search(text) else text
