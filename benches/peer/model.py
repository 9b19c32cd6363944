"""Makes the peer's model: 300 trees on its 16 features, learned from a file of labelled payments:

python -m peer.model PAYMENTS.csv.zst MODEL.onnx
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import onnx
import zstandard
from onnx import TensorProto, helper
from vigie_training.trees import tree_node

from peer.features import FEATURES, Features

TREES = 300
NUMBERS = ("amt", "lat", "long", "merch_lat", "merch_long")


def events_of(file: Path) -> list[dict[str, Any]]:
    """The payments as the consumer decodes them."""
    with file.open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as stream:
        rows = list(csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8")))
    return [{**row, **{name: float(row[name]) for name in NUMBERS}} for row in rows]


def graph_of(booster: lgb.Booster) -> onnx.ModelProto:
    """One input `features` [N, 16], the outputs `label` and `probabilities` [N, 2]."""
    inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", FEATURES])]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2]),
    ]
    node = tree_node(booster, "features", "label", "probabilities")
    graph = helper.make_graph([node], "peer", inputs, outputs)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model)
    return model


def main() -> None:
    """Learns and writes."""
    source, target = (Path(argument) for argument in sys.argv[1:])
    events = events_of(source)
    matrix, _ = Features().of(events)
    labels = np.array([int(event["is_fraud"]) for event in events])
    parameters = {
        "objective": "binary",
        "num_leaves": 31,
        "learning_rate": 0.05,
        "seed": 1,
        "num_threads": 1,
        "deterministic": True,
        "verbose": -1,
    }
    booster = lgb.train(parameters, lgb.Dataset(matrix, labels), num_boost_round=TREES)
    if booster.num_trees() != TREES:
        raise SystemExit(f"expected {TREES} trees, learned {booster.num_trees()}")
    part = target.with_suffix(".part")
    part.write_bytes(graph_of(booster).SerializeToString())
    part.rename(target)


if __name__ == "__main__":
    main()
