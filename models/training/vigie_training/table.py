"""The file that `vigie features` wrote, and the transactions it was computed from."""

from __future__ import annotations

import csv
import heapq
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as parquet
import zstandard

from vigie_training.bundle import Bundle

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Table:
    """Rows of features. Numbers are float32 with NaN for missing, as the graph gets them; texts have ""."""

    ids: Texts
    time: npt.NDArray[np.int64]
    label: npt.NDArray[np.int8]
    numbers: dict[str, Floats]
    texts: dict[str, Texts]

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.ids)

    def where(self, rows: Bools) -> Table:
        """Only the rows that are true."""
        return Table(
            ids=self.ids[rows],
            time=self.time[rows],
            label=self.label[rows],
            numbers={name: values[rows] for name, values in self.numbers.items()},
            texts={name: values[rows] for name, values in self.texts.items()},
        )

    def before(self, moment: datetime) -> Bools:
        """Whether each row's event time is before the moment."""
        return self.time < int(moment.timestamp()) * 1_000_000


def read_features(bundle: Bundle, path: Path) -> Table:
    """Reads the Parquet file and refuses one that lacks a feature or any row's label."""
    columns = parquet.read_table(path)
    missing = {feature.name for feature in bundle.features} - set(columns.column_names)
    if missing:
        raise ValueError(f"{path} lacks the features {sorted(missing)}")
    label = columns["label"]
    if label.null_count:
        raise ValueError(f"{path}: {label.null_count} of {len(label)} rows have no label")
    return Table(
        ids=_objects(columns["id"]),
        time=columns["event_time"].cast("int64").to_numpy(),
        label=label.cast("int8").to_numpy(),
        numbers={
            name: columns[name].cast("float64").to_numpy().astype(np.float32)
            for name in bundle.number_features
        },
        texts={name: _objects(columns[name].fill_null("")) for name in bundle.text_features},
    )


def _objects(column: Any) -> Texts:  # noqa: ANN401 - pyarrow has no types
    return np.asarray(column.to_pylist(), dtype=object)


@contextmanager
def transactions(path: Path) -> Iterator[csv.DictReader[str]]:
    """The rows of a CSV file, compressed or not."""
    with path.open("rb") as raw:
        stream = zstandard.ZstdDecompressor().stream_reader(raw) if path.suffix == ".zst" else raw
        yield csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8", newline=""))


def merge_in_time_order(bundle: Bundle, history: Path, scored: Path, output: Path) -> None:
    """Writes one file of both in the order in which they happened; of ties the history comes first."""
    time = bundle.fields[bundle.roles["time"]].source
    with transactions(history) as first, transactions(scored) as second, output.open("w", newline="") as file:
        if first.fieldnames != second.fieldnames:
            raise ValueError(f"{history} and {scored} have different columns")
        writer = csv.DictWriter(file, first.fieldnames or [])
        writer.writeheader()
        writer.writerows(heapq.merge(first, second, key=lambda row: row[time]))


def accounts(bundle: Bundle, path: Path) -> dict[str, str]:
    """The account of each transaction id."""
    id_, account = (bundle.fields[bundle.roles[role]].source for role in ("id", "account"))
    with transactions(path) as rows:
        return {row[id_]: row[account] for row in rows}
