"""The commands: write the dashboards, draw them from a running stack, time their queries."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from . import bench, files, running, showing


def main() -> None:
    """One of the commands."""
    parser = argparse.ArgumentParser(prog="vigie_dashboards", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("write", help="bring grafana/dashboards up to date")
    draw = verbs.add_parser("draw", help="draw them from the stack whose env was sourced")
    draw.add_argument("folder", type=Path, help="where the pictures go")
    draw.add_argument("--schema", default="vigie", help="where the views are")
    draw.add_argument("--minutes", type=float, default=15, help="span of Operations")
    draw.add_argument("--days", type=float, default=7, help="span of Fraud")
    draw.add_argument("--day", type=datetime.fromisoformat, help="day of Yesterday; the one before today")
    shown = verbs.add_parser("show", help="run a processor with payments worth looking at, and draw that")
    shown.add_argument("folder", type=Path, help="where the pictures go")
    shown.add_argument("--build", default="release", help="which programs: target/BUILD")
    timed = verbs.add_parser("bench", help="time the SQL panels over many payments")
    timed.add_argument("--payments", type=int, default=10_000_000, help="over 90 days")
    arguments = parser.parse_args()
    match arguments.verb:
        case "write":
            files.write()
        case "draw":
            looked_at = showing.spans(datetime.now(UTC), arguments.minutes, arguments.days, arguments.day)
            showing.draw(running.sources(arguments.schema), looked_at, arguments.folder)
        case "show":
            showing.show(arguments.folder, arguments.build)
        case "bench":
            sys.exit(0 if bench.run(arguments.payments) else 1)


if __name__ == "__main__":
    main()
