"""Words for the person, and programs that are started."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


class Failed(Exception):
    """Something is not as it should be; the argument says what."""


def in_a_world_of_its_own() -> None:
    """Refuses to go on where a mount would be seen by others: the first process of its namespaces is alone there."""
    if os.getpid() != 1:
        raise Failed("this mounts and removes folders: docker/try_in_debian.sh starts it in namespaces of its own")
    # The first process is not ended by a signal that it does not listen to.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))


def say(text: str) -> None:
    """Prints a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run(words: list[str], log: Path, env: Mapping[str, str] | None = None) -> None:
    """Runs a program to its end; what it says goes to the log, whose end is shown when it fails."""
    with log.open("ab") as out:
        done = subprocess.run(words, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False)
    if done.returncode:
        raise Failed(f"{shlex.join(words)[:300]} ended with exit code {done.returncode}:\n{tail(log)}")


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
