"""How the demo starts its children and ends them, whatever happens to the demo itself."""

import ctypes
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
Child = subprocess.Popen[bytes]


class Failed(Exception):
    """The demo cannot go on; the argument says why."""


def say(text: str = "", end: str = "\n") -> None:
    """Prints; a terminal that was closed meanwhile keeps nobody from cleaning up."""
    try:
        sys.stdout.write(text + end)
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def die_with_parent() -> None:
    """In the child: SIGTERM when the demo is killed without a chance to clean up (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def start(command: list[str], env: dict[str, str], log: Path | None = None) -> Child:
    """Starts a child in a session of its own: Ctrl-C reaches the demo alone, which then ends its children."""
    out = log.open("ab") if log else None
    return subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out,
                            stderr=subprocess.STDOUT if out else None, start_new_session=True,
                            preexec_fn=die_with_parent)


def end(child: Child, patience: float) -> int:
    """Asks a child's whole session to end, and after `patience` seconds makes it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is not None:
            break
        os.killpg(child.pid, number)
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            say(f"process {child.pid} does not end by itself")
    return child.wait()


def step(command: list[str], env: dict[str, str], log: Path | None = None) -> None:
    """Runs a child to its end; one that fails ends the demo."""
    child = start(command, env, log)
    try:
        code = child.wait()
    except BaseException:
        end(child, 10)
        raise
    if code != 0:
        raise Failed(f"{shlex.join(command)} ended with exit code {code}" + (f"; see {log}" if log else ""))


def sourced(file: Path, env: dict[str, str]) -> dict[str, str]:
    """An environment with what a file of the shell's adds to it."""
    script = f"set -ea; source {shlex.quote(str(file))}; env -0"
    out = subprocess.run(["bash", "-c", script], env=env, stdout=subprocess.PIPE, text=True)
    if out.returncode != 0:
        raise Failed(f"{file} could not be read")
    return dict(line.split("=", 1) for line in out.stdout.split("\0") if "=" in line)


def free_port() -> int:
    """Below the range that the kernel hands out to outgoing connections."""
    while True:
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", random.randrange(20000, 32000)))
            except OSError:
                continue
            return int(listener.getsockname()[1])
