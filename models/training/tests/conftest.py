from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vigie_training.bundle import Bundle, read_bundle
from vigie_training.table import Table

CARD = Path(__file__).parents[2] / "card"


@pytest.fixture(scope="session")
def card() -> Bundle:
    return read_bundle(CARD)


@pytest.fixture(scope="session")
def invented(card: Bundle) -> Table:
    """4,000 invented rows in which windows, but nothing else, lack values."""
    rng = np.random.default_rng(3)
    rows = 4000
    category = rng.choice(["grocery_pos", "shopping_net", "travel"], rows).astype(object)
    numbers = {name: rng.gamma(1.0, 100.0, rows).astype(np.float32) for name in card.number_features}
    for name in card.number_features:
        if name.startswith(("amt_mean", "amt_max", "amt_ratio", "time_since")):
            numbers[name][rng.random(rows) < 0.3] = np.nan
    numbers["hour"] = rng.integers(0, 24, rows).astype(np.float32)
    risk = (category == "shopping_net") * 2.0 + (numbers["hour"] > 21) + numbers["amt"] / 200
    return Table(
        ids=np.arange(rows).astype(object),
        time=np.arange(rows, dtype=np.int64) * 9_000_000_000 + 1_546_300_800_000_000,
        label=(risk + rng.normal(0, 0.5, rows) > 3).astype(np.int8),
        numbers=numbers,
        texts={"category": category},
    )
