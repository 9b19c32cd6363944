"""Calls `vigie features`: what a model learns from is what the serving code computed."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pyarrow.parquet as parquet

from vigie_training.bundle import Bundle


@dataclass(frozen=True)
class Vigie:
    """The program, and the bundle it is asked about."""

    program: Path
    bundle: Bundle

    def features(self, transactions: Path, output: Path) -> None:
        """Writes the features of every transaction to a Parquet file."""
        self._run(transactions, output)

    def scores(self, transactions: Path, output: Path) -> dict[str, np.float32]:
        """Writes features and scores, and returns the score of each id."""
        self._run(transactions, output, "--scores")
        columns = parquet.read_table(output, columns=["id", "score"])
        scores: npt.NDArray[np.float32] = columns["score"].to_numpy().astype(np.float32)
        return dict(zip(columns["id"].to_pylist(), scores, strict=True))

    def _run(self, transactions: Path, output: Path, *options: str) -> None:
        command = [str(self.program), "features", "--bundle", str(self.bundle.path)]
        command += ["--input", str(transactions), "--output", str(output), *options]
        environment = {"VIGIE_MODEL__ONNXRUNTIME": str(runtime_library()), **os.environ}
        subprocess.run(command, check=True, env=environment)  # noqa: S603 - the program is named by who trains


def runtime_library() -> Path:
    """The ONNX runtime that came with this environment: the serving program runs on the same one."""
    folder = Path(onnxruntime.__file__).parent / "capi"
    return folder / f"libonnxruntime.so.{onnxruntime.__version__}"
