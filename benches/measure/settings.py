"""What the run is told: its size by BENCH_ variables, the stack by the variables of scripts/stack.sh."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Failure(Exception):
    """Something that keeps a figure from being measured, in words for the person who ran it."""


@dataclass(frozen=True)
class Settings:
    """Sizes, places and the stack's address."""

    rows: int
    runs: int
    lanes: str
    live_rate: int
    live_seconds: int
    live_warm_up: int
    binaries: Path
    payments: Path
    work: Path
    results: Path
    brokers: str
    stack: Path

    @classmethod
    def from_environment(cls) -> Settings:
        """Reads the variables; what is missing has a default but for the stack's."""
        stack = Path(_required("VIGIE_STACK_DIR"))
        results = Path(os.environ.get("BENCH_RESULTS") or stack)
        work = stack / "bench"
        work.mkdir(parents=True, exist_ok=True)
        return cls(
            rows=_whole("BENCH_ROWS", 500_000),
            runs=_whole("BENCH_RUNS", 3),
            lanes=os.environ.get("BENCH_LANES", ""),
            live_rate=_whole("BENCH_RATE", 1_000),
            live_seconds=_whole("BENCH_SECONDS", 30),
            live_warm_up=_whole("BENCH_WARM_UP", 5),
            binaries=ROOT / (os.environ.get("CARGO_TARGET_DIR") or "target") / "release",
            payments=ROOT / "models" / "card" / "payments.csv.zst",
            work=work,
            results=results,
            brokers=_required("VIGIE_KAFKA__BROKERS"),
            stack=stack,
        )

    def database(self, role: str) -> dict[str, str]:
        """libpq's variables for a role of the stack: writer, migrator or admin."""
        password = self.stack / "secrets" / f"{role}_password"
        return {
            "PGHOST": _required("VIGIE_DATABASE__HOST"),
            "PGPORT": _required("VIGIE_DATABASE__PORT"),
            "PGDATABASE": _required("VIGIE_DATABASE__NAME"),
            "PGUSER": f"vigie_{role}",
            "PGPASSWORD": password.read_text().strip(),
        }

    def service_pid(self, service: str) -> int:
        """The process of one of the stack's services."""
        return int((self.stack / "pids" / service).read_text().split()[0])


def _required(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise Failure(f"{name} is not set; scripts/bench.sh brings up a stack and sets it")
    return value


def _whole(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise Failure(f"{name}={text}: expected a whole number above 0")
    return int(text)
