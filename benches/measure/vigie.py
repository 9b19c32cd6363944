"""`vigie run` as a process of ours, in a schema of its own."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from measure.processes import end, tail
from measure.settings import Failure, Settings


class Vigie:
    """The release binary on one topic, with a fresh schema and a fresh consumer group."""

    def __init__(self, settings: Settings, topic: str, schema: str) -> None:
        """Makes the schema; nothing runs yet."""
        self.schema = schema
        self.address = f"127.0.0.1:{_free_port()}"
        self.log = settings.work / f"{schema}.log"
        self._binary = str(settings.binaries / "vigie")
        self._environment = {
            **os.environ,
            "VIGIE_DATABASE__SCHEMA": schema,
            "VIGIE_STREAM__TOPIC": topic,
            "VIGIE_STREAM__GROUP": f"{topic}-{schema}",
            "VIGIE_HTTP__LISTEN": self.address,
            # Payments are counted, and a canary is one more.
            "VIGIE_CANARY__EVERY": "0s",
        }
        if settings.lanes:
            self._environment["VIGIE_STREAM__LANES"] = settings.lanes
        migrated = subprocess.run(
            [self._binary, "migrate"], env=self._environment, capture_output=True, text=True, check=False
        )
        if migrated.returncode != 0:
            raise Failure(f"vigie migrate ended with {migrated.returncode}:\n{migrated.stderr}")

    def start(self) -> subprocess.Popen[bytes]:
        """Begins to read."""
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [self._binary, "run"], env=self._environment, stdout=output, stderr=output
            )
        return self.process

    def stop(self) -> None:
        """Asks it to end; it has 10 s and says 0."""
        code = end(self.process)
        if code != 0:
            raise Failure(f"vigie run ended with {code}:\n{tail(self.log)}")

    def kill(self) -> None:
        """Makes sure that it is gone, whatever happened."""
        end(self.process)


def check_alive(process: subprocess.Popen[bytes], log: Path) -> None:
    """Fails with the log's end when the process is gone."""
    if process.poll() is not None:
        raise Failure(f"{process.args!r} ended with {process.returncode}:\n{tail(log)}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
