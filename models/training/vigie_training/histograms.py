"""`reference.json`: what scores and features looked like in the training period, to measure drift against."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vigie_training.bundle import Bundle
from vigie_training.table import Table

SCORE_EDGES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, *(round(0.1 * i, 1) for i in range(1, 10)), 0.95, 0.99)
BINS = 20


def histogram(values: npt.NDArray[np.floating], edges: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Counts below the first edge, between each two, from the last on; a value on an edge is above it."""
    known = values[~np.isnan(values)].astype(np.float64)
    counts = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1)
    return {
        "edges": [float(edge) for edge in edges],
        "counts": [int(count) for count in counts],
        "missing": int(len(values) - len(known)),
    }


def quantile_edges(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Edges that cut the values into twenty nearly equal parts, fewer where values repeat."""
    known = values[~np.isnan(values)].astype(np.float64)
    if not len(known):
        return np.array([])
    inner = np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1], method="higher")
    lowest = known.min()
    return np.array(sorted({short for edge in inner if (short := float(f"{edge:.6g}")) > lowest}))


def write_reference(bundle: Bundle, path: Path, table: Table, scores: npt.NDArray[np.floating]) -> None:
    """Histograms of the score and of every feature, in the bundle's order."""
    features: dict[str, Any] = {}
    for feature in bundle.features:
        if feature.name in table.texts:
            counted = Counter(table.texts[feature.name])
            missing = counted.pop("", 0)
            features[feature.name] = {"categories": dict(sorted(counted.items())), "missing": missing}
        else:
            values = table.numbers[feature.name]
            features[feature.name] = histogram(values, quantile_edges(values))
    content = {
        "bundle": bundle.name,
        "version": bundle.version,
        "period": [
            str(np.datetime64(int(moment), "us"))[:10] for moment in (table.time.min(), table.time.max())
        ],
        "rows": len(table),
        "bins": "counts[i] holds edges[i-1] <= x < edges[i]; the first and the last bin are open",
        "score": histogram(scores, np.array(SCORE_EDGES)),
        "features": features,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    path.write_text(_lists_on_one_line(text) + "\n", encoding="utf-8")


def _lists_on_one_line(text: str) -> str:
    out: list[str] = []
    inside = False
    for line in text.splitlines():
        if inside:
            out[-1] += line.strip() + ("" if line.strip().startswith("]") else " ")
        else:
            out.append(line)
        inside = line.endswith("[") or (inside and not line.strip().startswith("]"))
    return "\n".join(out).replace(" ]", "]")
