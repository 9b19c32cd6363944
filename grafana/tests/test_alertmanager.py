"""alertmanager.yml, by a real Alertmanager that mails to the stack's server and calls a webhook."""

import json
import os
import random
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from alerts import ROOT

from vigie_dashboards.running import free_port

TOOLS = Path(os.environ["VIGIE_STACK_TOOLS"])
CONFIG = ROOT / "alertmanager/alertmanager.yml"
DEADLINE = 60.0


@dataclass
class Pager:
    """A webhook that keeps what it is told, and by whom."""

    calls: list[tuple[str | None, dict[str, object]]] = field(default_factory=list)

    @contextmanager
    def listening(self) -> Iterator[str]:
        calls = self.calls

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                calls.append((self.headers["Authorization"], json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/alerts"
            server.shutdown()


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {DEADLINE:.0f} s"
        time.sleep(0.05)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/-/ready", timeout=1):  # noqa: S310
            return True
    except OSError:
        return False


@contextmanager
def alertmanager(config: Path, data: Path) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    command = [str(TOOLS / "alertmanager"), f"--config.file={config}", f"--storage.path={data}"]
    command += [f"--web.listen-address={address}", "--cluster.listen-address="]
    log = data.with_suffix(".log")
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        wait_for("Alertmanager", lambda: answers(f"http://{address}") or server.poll() is not None)
        assert server.poll() is None, log.read_text()
        yield f"http://{address}"
    finally:
        server.terminate()
        server.wait(20)


def tell(address: str, *labels: dict[str, str]) -> None:
    said = {"summary": "It is so", "description": "It hurts.", "runbook_url": "docs/runbooks/X.md"}
    body = json.dumps([{"labels": labels, "annotations": said} for labels in labels]).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/api/v2/alerts", body, headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
        assert answer.status == 200


@pytest.fixture
def recipient() -> str:
    return f"oncall-{random.getrandbits(48):x}@vigie.example"


def rendered(folder: Path, recipient: str, pager: str) -> Path:
    """The committed file with this test's addresses, and with hardly any waiting for more alerts."""
    (folder / "pager_token").write_text("pager-secret")
    text = CONFIG.read_text()
    for committed, ours in {
        "mail:1025": f"127.0.0.1:{os.environ['VIGIE_MAIL__PORT']}",
        "http://pager:8080/alerts": pager,
        "/run/secrets/": f"{folder}/",
        "to: oncall@vigie.example": f"to: {recipient}",
        "group_wait: 10s": "group_wait: 1s",
    }.items():
        assert committed in text
        text = text.replace(committed, ours)
    file = folder / "alertmanager.yml"
    file.write_text(text)
    return file


def mails_to(recipient: str) -> list[str]:
    texts = (mail.read_text(errors="replace") for mail in Path(os.environ["VIGIE_STACK_MAILS"]).glob("*.eml"))
    return [text for text in texts if recipient in text]


def test_amtool_accepts_the_configuration() -> None:
    done = subprocess.run([TOOLS / "amtool", "check-config", CONFIG], capture_output=True, text=True)
    assert done.returncode == 0 and "2 receivers" in done.stdout, done.stdout + done.stderr


def test_what_is_critical_is_mailed_and_paged_and_its_warning_is_not_said_again(tmp_path: Path, recipient: str) -> None:
    pager = Pager()
    with (
        pager.listening() as webhook,
        alertmanager(rendered(tmp_path, recipient, webhook), tmp_path / "data") as address,
    ):
        late = {"alertname": "VigiePaymentsLate", "instance": "a:9464"}
        old = {"alertname": "VigieFiguresStale", "severity": "warning"}
        tell(address, late | {"severity": "critical"}, late | {"severity": "warning"})
        tell(address, old)
        wait_for("two mails and a call", lambda: len(mails_to(recipient)) >= 2 and len(pager.calls) >= 1)
        subjects = sorted(line for mail in mails_to(recipient) for line in mail.splitlines() if "Subject:" in line)
        assert subjects == ["Subject: [critical] VigiePaymentsLate", "Subject: [warning] VigieFiguresStale"]
        assert all("what to do: docs/runbooks/X.md" in mail for mail in mails_to(recipient))
        [(authorization, call)] = pager.calls
        assert authorization == "Bearer pager-secret"
        assert call["commonLabels"] == late | {"severity": "critical"}


def test_while_a_processor_is_away_warnings_about_processors_are_kept_back_and_criticals_are_not(
    tmp_path: Path, recipient: str
) -> None:
    pager = Pager()
    with (
        pager.listening() as webhook,
        alertmanager(rendered(tmp_path, recipient, webhook), tmp_path / "data") as address,
    ):
        down = {"alertname": "VigieTargetDown", "severity": "critical", "job": "vigie", "instance": "a:9464"}
        tell(address, down, {"alertname": "VigieCanaryAbsent", "severity": "warning"})
        tell(address, {"alertname": "VigieCanaryOld", "severity": "critical"})
        tell(address, {"alertname": "DiskFilling", "severity": "warning"})
        wait_for("three mails", lambda: len(mails_to(recipient)) >= 3)
        mails = "\n".join(mails_to(recipient))
        assert "VigieTargetDown" in mails and "VigieCanaryOld" in mails and "DiskFilling" in mails
        assert "VigieCanaryAbsent" not in mails
