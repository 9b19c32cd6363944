"""What is read and written."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import zstandard

from vigie_training.bundle import Bundle, read_bundle, write_thresholds
from vigie_training.preprocess import learn_preprocessing
from vigie_training.table import Table, accounts, merge_in_time_order, read_features

HEADER = ",trans_date_trans_time,cc_num,trans_num,merchant\n"


def test_the_bundle_declares_what_training_needs(card: Bundle) -> None:
    assert card.name == "card"
    assert len(card.features) == 37
    assert card.text_features == ("category",)
    assert card.amount_feature == "amt"
    assert card.longest_window_us == 30 * 86400 * 1_000_000
    assert "is_fraud" not in {feature.of for feature in card.features}


def test_thresholds_are_written_and_nothing_else_changes(card: Bundle, tmp_path: Path) -> None:
    shutil.copy(card.path / "bundle.toml", tmp_path)
    before = (tmp_path / "bundle.toml").read_text(encoding="utf-8").splitlines()
    write_thresholds(read_bundle(tmp_path), 0.12, 0.9876)
    after = (tmp_path / "bundle.toml").read_text(encoding="utf-8").splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert changed == ["review = 0.1200", "block = 0.9876"]


def test_two_files_become_one_in_the_order_of_time(card: Bundle, tmp_path: Path) -> None:
    history, later, merged = tmp_path / "a.csv.zst", tmp_path / "b.csv", tmp_path / "merged.csv"
    text = HEADER + '0,2020-01-01 00:00:00,1,x,"Moss, Sons"\n1,2020-01-03 00:00:00,1,y,M\n'
    history.write_bytes(zstandard.compress(text.encode()))
    later.write_text(HEADER + "0,2020-01-02 00:00:00,2,v,M\n1,2020-01-03 00:00:00,2,w,M\n", encoding="utf-8")
    merge_in_time_order(card, history, later, merged)
    with merged.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trans_num"] for row in rows] == ["x", "v", "y", "w"]
    assert rows[0]["merchant"] == "Moss, Sons"
    assert accounts(card, history) == {"x": "1", "y": "1"}


def features_file(card: Bundle, path: Path, **changes: list[object]) -> Path:
    columns: dict[str, object] = {
        "id": ["a", "b"],
        "event_time": pa.array([1_600_000_000_000_000, 1_600_000_001_000_000], pa.timestamp("us", tz="UTC")),
        "label": pa.array([False, True]),
        **{name: [1.5, None] for name in card.number_features},
        "category": ["travel", None],
        **changes,
    }
    parquet.write_table(pa.table({name: c for name, c in columns.items() if c != []}), path)
    return path


def test_features_are_read_as_the_graph_gets_them(card: Bundle, tmp_path: Path) -> None:
    table = read_features(card, features_file(card, tmp_path / "f.parquet"))
    assert table.time.tolist() == [1_600_000_000_000_000, 1_600_000_001_000_000]
    assert table.texts["category"].tolist() == ["travel", ""]
    assert table.label.tolist() == [0, 1]
    assert table.numbers["amt"].dtype == np.float32
    assert table.numbers["amt"][0] == 1.5
    assert np.isnan(table.numbers["amt"][1])


def test_a_file_without_a_feature_or_a_label_is_refused(card: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="count_24h"):
        read_features(card, features_file(card, tmp_path / "f.parquet", count_24h=[]))
    with pytest.raises(ValueError, match="1 of 2 rows have no label"):
        read_features(card, features_file(card, tmp_path / "g.parquet", label=[None, 1]))


def test_a_category_never_seen_is_a_risk_in_the_middle(card: Bundle, invented: Table) -> None:
    preprocessing = learn_preprocessing(card, invented)
    rank = preprocessing.encodings[0]
    assert sorted(rank.values.values()) == [0.0, 1.0, 2.0]
    assert rank.values["shopping_net"] == 2.0
    assert rank.column(np.array(["unheard-of", ""], dtype=object)).tolist() == [0.5, 0.5]
