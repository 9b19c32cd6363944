"""The command line: `python -m vigie_training all …`."""

from __future__ import annotations

import argparse
from pathlib import Path

from vigie_training.pipeline import Inputs, train


def main() -> None:
    """Parses the arguments and trains."""
    parser = argparse.ArgumentParser(prog="vigie_training", description="Makes a bundle's model.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    everything = verbs.add_parser(
        "all",
        help="features, fit, graph, parity, golden rows, histograms, figures, model card",
        epilog="example: python -m vigie_training all --bundle models/card --data train.csv.zst "
        "--test dev.csv.zst --vigie target/release/vigie",
    )
    everything.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    everything.add_argument("--data", type=Path, required=True, help="transactions to learn from")
    everything.add_argument("--test", type=Path, required=True, help="transactions to judge by, seen once")
    everything.add_argument("--vigie", type=Path, required=True, help="the serving program")
    everything.add_argument("--work", type=Path, default=Path("models/training/work"), help="scratch folder")
    arguments = parser.parse_args()
    train(Inputs(arguments.bundle, arguments.data, arguments.test, arguments.vigie, arguments.work))


if __name__ == "__main__":
    main()
