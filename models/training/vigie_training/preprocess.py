"""What happens to the features before the trees: imputing and encoding, once in numpy, once in the graph.

The two halves stand side by side so that they stay the same. Both compute in float32 with the same
operations in the same order, so the trees see the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto, helper

from vigie_training.bundle import Bundle
from vigie_training.table import Floats, Table, Texts


@dataclass(frozen=True)
class Encoding:
    """A number for each value of a category, and one for every value never seen, a missing one included."""

    name: str
    of: str
    values: Mapping[str, float]
    unseen: float

    def column(self, texts: Texts) -> Floats:
        """The numbers of a column of texts."""
        return np.array([self.values.get(text, self.unseen) for text in texts], dtype=np.float32)


@dataclass(frozen=True)
class Preprocessing:
    """From the graph's inputs to the columns of the trees."""

    bundle: Bundle
    imputed: Mapping[str, float]
    encodings: tuple[Encoding, ...]
    relative: tuple[str, str, str]

    @property
    def columns(self) -> list[str]:
        """The trees' columns, in order."""
        return [*self.bundle.number_features, *(e.name for e in self.encodings), self.relative[0]]

    def matrix(self, table: Table) -> Floats:
        """The trees' columns of a table."""
        known = dict(table.numbers)
        for name, value in self.imputed.items():
            known[name] = np.where(np.isnan(known[name]), np.float32(value), known[name])
        for encoding in self.encodings:
            known[encoding.name] = encoding.column(table.texts[encoding.of])
        name, amount, typical = self.relative
        known[name] = known[amount] / known[typical]
        return np.stack([known[column] for column in self.columns], axis=1)

    def nodes(self, output: str) -> tuple[list[NodeProto], list[TensorProto]]:
        """The same as part of a graph: nodes and constants; `output` is the matrix."""
        nodes, constants, names = [], [], {}
        for name, value in self.imputed.items():
            constants.append(helper.make_tensor(f"{name}:typical", TensorProto.FLOAT, [1], [value]))
            nodes.append(helper.make_node("IsNaN", [name], [f"{name}:missing"]))
            known = [f"{name}:missing", f"{name}:typical", name]
            nodes.append(helper.make_node("Where", known, [f"{name}:imputed"]))
            names[name] = f"{name}:imputed"
        for encoding in self.encodings:
            nodes.append(_label_encoder(encoding))
        name, amount, typical = self.relative
        nodes.append(helper.make_node("Div", [names.get(amount, amount), typical], [name]))
        columns = [names.get(column, column) for column in self.columns]
        nodes.append(helper.make_node("Concat", columns, [output], axis=1))
        return nodes, constants


def _label_encoder(encoding: Encoding) -> NodeProto:
    return helper.make_node(
        "LabelEncoder",
        [encoding.of],
        [encoding.name],
        domain="ai.onnx.ml",
        keys_strings=list(encoding.values.keys()),
        values_floats=list(encoding.values.values()),
        default_float=encoding.unseen,
    )


def learn_preprocessing(bundle: Bundle, table: Table) -> Preprocessing:
    """Learns typical values and the encodings of the category from the rows that the model is fitted on.

    The category enters as its place in the order of fraud rates, as the amount typical of its frauds and of
    its honest payments, and as this amount relative to the typical fraud: with them few trees suffice.
    """
    (category,) = bundle.text_features
    texts, amounts = table.texts[category], table.numbers[bundle.amount_feature]
    fraud = table.label == 1
    rate = {str(c): float(fraud[texts == c].mean()) for c in sorted(set(texts)) if c}
    by_rate = sorted(rate, key=lambda c: (rate[c], c))

    def typical(rows: np.ndarray) -> dict[str, float]:
        return {c: _median(amounts[rows & (texts == c)], amounts[rows]) for c in by_rate}

    encodings = (
        Encoding(
            f"{category}_rank",
            category,
            {c: float(i) for i, c in enumerate(by_rate)},
            len(by_rate) // 2 - 0.5,
        ),
        Encoding(f"{category}_fraud_amount", category, typical(fraud), _median(amounts[fraud])),
        Encoding(f"{category}_honest_amount", category, typical(~fraud), _median(amounts[~fraud])),
    )
    return Preprocessing(
        bundle=bundle,
        imputed={
            f.name: _median(table.numbers[f.name]) for f in bundle.features if f.kind in ("age", "distance")
        },
        encodings=encodings,
        relative=("amount_to_fraud_amount", bundle.amount_feature, encodings[1].name),
    )


def _median(values: Floats, otherwise: Floats | None = None) -> float:
    known = values[~np.isnan(values)]
    if not len(known) and otherwise is not None:
        return _median(otherwise)
    return float(np.float32(np.median(known)))
