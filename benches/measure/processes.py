"""Processes: what they cost, as the kernel counts it, and how ours are ended."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and all its descendants, those that ended and were waited for included."""
    total = 0.0
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        # After the name, which may hold spaces, utime stime cutime cstime are the 12th to 15th field.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total = sum(int(ticks) for ticks in fields[11:15]) / TICKS
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                total += cpu_seconds(int(child))
    return total


def end(process: subprocess.Popen[bytes], patience: float = 15) -> int:
    """Asks a process of ours to end, and after a while makes it; its exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
