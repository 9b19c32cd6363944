"""LightGBM's trees as one ONNX node, exactly.

The public converter rounds thresholds to the nearest float32, so that now and then a value falls to the other
side. Here a threshold is rounded down, which for float32 inputs asks the same question, and a missing value
goes where LightGBM sends it, also for a column that never lacked one in training.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import lightgbm as lgb
import numpy as np
from onnx import NodeProto, helper


def float32_below(threshold: float) -> float:
    """The largest float32 that is not above the threshold."""
    with np.errstate(over="ignore"):  # "has a value or not" is a split at the largest float64
        nearest = np.float32(threshold)
    return float(np.nextafter(nearest, np.float32(-np.inf)) if float(nearest) > threshold else nearest)


@dataclass
class Ensemble:
    """The node's attributes while they grow, a value for every node of every tree."""

    nodes: dict[str, list[Any]] = field(default_factory=dict)
    leaves: dict[str, list[Any]] = field(default_factory=dict)

    def add_tree(self, tree: int, root: dict[str, Any]) -> None:
        """Adds a tree in preorder: the path of true branches lies together in memory."""
        size = 0

        def add(node: dict[str, Any]) -> int:
            nonlocal size
            number, place = size, len(self.nodes.get("nodes_nodeids", ()))
            size += 1
            self._append(tree, number, node)
            if "left_child" in node:
                self.nodes["nodes_truenodeids"][place] = add(node["left_child"])
                self.nodes["nodes_falsenodeids"][place] = add(node["right_child"])
            return number

        add(root)

    def _append(self, tree: int, number: int, node: dict[str, Any]) -> None:
        leaf = "left_child" not in node
        if not leaf and (node["decision_type"] != "<=" or node["missing_type"] == "Zero"):
            raise ValueError(
                f"a split that is not exported here: {node['decision_type']}, {node['missing_type']}"
            )
        row = {
            "nodes_treeids": tree,
            "nodes_nodeids": number,
            "nodes_modes": "LEAF" if leaf else "BRANCH_LEQ",
            "nodes_featureids": 0 if leaf else node["split_feature"],
            "nodes_values": 0.0 if leaf else float32_below(node["threshold"]),
            "nodes_truenodeids": 0,
            "nodes_falsenodeids": 0,
            "nodes_missing_value_tracks_true": 0 if leaf else int(_missing_goes_left(node)),
        }
        for name, value in row.items():
            self.nodes.setdefault(name, []).append(value)
        if leaf:
            weight = {"class_treeids": tree, "class_nodeids": number, "class_ids": 0}
            for name, value in {**weight, "class_weights": node["leaf_value"]}.items():
                self.leaves.setdefault(name, []).append(value)


def _missing_goes_left(node: dict[str, Any]) -> bool:
    """Where LightGBM saw no missing value while it learned, it takes one for 0."""
    return bool(node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0)


def tree_node(booster: lgb.Booster, matrix: str, label: str, probabilities: str) -> NodeProto:
    """The whole booster as one TreeEnsembleClassifier for two classes."""
    ensemble = Ensemble()
    for number, tree in enumerate(booster.dump_model()["tree_info"]):
        ensemble.add_tree(number, tree["tree_structure"])
    return helper.make_node(
        "TreeEnsembleClassifier",
        [matrix],
        [label, probabilities],
        domain="ai.onnx.ml",
        post_transform="LOGISTIC",
        classlabels_int64s=[0, 1],
        **ensemble.nodes,
        **ensemble.leaves,
    )
