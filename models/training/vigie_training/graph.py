"""The model as the serving code loads it: one ONNX graph from named inputs to a probability."""

from __future__ import annotations

import time
from pathlib import Path

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper

from vigie_training.preprocess import Preprocessing
from vigie_training.table import Table
from vigie_training.trees import tree_node

OPSET, ML_OPSET, IR_VERSION = 18, 3, 9
LABEL, PROBABILITIES = "label", "probabilities"


def build_graph(preprocessing: Preprocessing, booster: lgb.Booster) -> onnx.ModelProto:
    """Inputs: one per feature in the bundle's order, numbers float32 [N, 1], categories string [N, 1].

    Outputs: `label` int64 [N] and `probabilities` float32 [N, 2], the second column being that of fraud.
    """
    bundle = preprocessing.bundle
    nodes, constants = preprocessing.nodes("matrix")
    inputs = [
        helper.make_tensor_value_info(
            feature.name, TensorProto.STRING if bundle.is_text(feature) else TensorProto.FLOAT, ["N", 1]
        )
        for feature in bundle.features
    ]
    outputs = [
        helper.make_tensor_value_info(LABEL, TensorProto.INT64, ["N"]),
        helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["N", 2]),
    ]
    nodes.append(tree_node(booster, "matrix", LABEL, PROBABILITIES))
    graph = helper.make_graph(nodes, bundle.name, inputs, outputs, constants)
    model = helper.make_model(
        graph,
        producer_name="vigie-training",
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model)
    return model


def load(model: onnx.ModelProto | Path) -> onnxruntime.InferenceSession:
    """A session on one thread, as the serving code has it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def graph_inputs(table: Table) -> dict[str, npt.NDArray[np.generic]]:
    """A table as the graph's named inputs."""
    return {name: values.reshape(-1, 1) for name, values in {**table.numbers, **table.texts}.items()}


def graph_scores(session: onnxruntime.InferenceSession, table: Table) -> npt.NDArray[np.float32]:
    """The probability of fraud by the graph."""
    (probabilities,) = session.run([PROBABILITIES], graph_inputs(table))
    scores: npt.NDArray[np.float32] = probabilities[:, 1]
    return scores


def microseconds_per_row(session: onnxruntime.InferenceSession, table: Table, batch: int = 2000) -> float:
    """The median processor time of a row over batches of the table; Python's input conversion is included."""
    seconds = []
    for start in range(0, len(table) - batch, batch):
        rows = np.zeros(len(table), dtype=bool)
        rows[start : start + batch] = True
        inputs = graph_inputs(table.where(rows))
        begin = time.process_time()
        session.run([PROBABILITIES], inputs)
        seconds.append(time.process_time() - begin)
    return float(np.median(seconds) / batch * 1e6)
