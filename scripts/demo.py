#!/usr/bin/env python3
"""`make demo`: real card payments through a real Kafka, scored, stored in a real PostgreSQL, mailed when suspicious.

Installs and builds what is missing, starts a stack of its own (unless that runs already), the processor and a
producer, and shows what happens until the file ends, DEMO_SECONDS have passed, or somebody presses Ctrl-C; then comes
what the run left behind (a second Ctrl-C does without). Whatever was started here is ended here, and nothing else.
Every run has a topic, a schema and a folder of its own.

  DEMO_SECONDS=60 make demo    ends by itself after so many seconds of payments
  DEMO_RATE=500 make demo      payments per second (default 100)
  make demo SOURCE=simulate    invented customers and frauds instead of the committed payments
  make demo SOURCE=api         pulls from an HTTP API: the imitation of a public one, ten payments a second

Exit code 0: payments were scored and a mail arrived (but with SOURCE=api, where fraud is rare, or after Ctrl-C), the
accounts add up, and report and pictures were made.
"""

import fcntl
import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from demo_figures import Database, Figures, Watched
from demo_processes import ROOT, Child, Failed, die_with_parent, end, free_port, say, sourced, start, step
from demo_results import Results, attempt, dashboards_python, show
from demo_signals import Signals, Stopped, ignore
from demo_sources import SOURCES, Asked

STACK = [str(ROOT / "scripts/stack.sh")]
NAME = ["--name", "demo"]
HOME = ROOT / ".stack/demo"
# Left behind by a demo that was killed: the stack it names as its own is the next demo's to stop.
OWNED = HOME / "started-by-demo"
BINARIES = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release"
BEGAN = time.monotonic()


class Usage(Exception):
    """A setting makes no sense."""


def title(text: str) -> None:
    say(f"\n== {text} (after {time.monotonic() - BEGAN:.0f} s)")


def clean_environment() -> dict[str, str]:
    """Without settings of another stack that this shell may have sourced."""
    return {key: value for key, value in os.environ.items()
            if not (key.startswith("VIGIE_") and "__" in key) and key != "VIGIE_CONFIG"}


def positive(variable: str, default: float) -> float:
    """A setting of the demo itself."""
    text = os.environ.get(variable) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise Usage(f"{variable}: expected a number above 0, found {text!r}")
    return number


@dataclass
class Running:
    """What works while payments flow."""

    producer: Child
    vigie: Child
    watched: Watched


class Demo:
    """One run: its settings and its children."""

    def __init__(self) -> None:
        self.rate = positive("DEMO_RATE", 100)
        self.seconds = positive("DEMO_SECONDS", float("inf"))
        self.source = os.environ.get("SOURCE") or "replay"
        if self.source not in SOURCES:
            raise Usage(f"SOURCE: expected one of {', '.join(SOURCES)}, found {self.source!r}")
        self.stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime())
        self.schema = f"demo_{self.stamp}"
        self.topic = f"payments-{self.stamp.replace('_', '-')}"
        self.folder = HOME / "runs" / self.stamp
        self.ledger = self.folder / "ledger.tsv"
        self.env = clean_environment()
        self.signals = Signals()
        # In the order in which they are to end: that of the data's way, so that nobody waits for one who is gone.
        self.children: list[Child] = []
        self.database: Database | None = None
        self.stack_is_ours = False
        self.target: Path | None = None

    def prepare(self) -> None:
        """Everything up to an empty schema and a running stack."""
        title("what is missing")
        step(["scripts/install.sh"], self.env)
        step([*STACK, "download", *NAME], self.env)
        # The pictures are drawn last; what they need is not to be missed only then.
        dashboards_python(self.env)
        title("building (the first time takes some minutes)")
        step(["cargo", "build", "--release", "--locked", "-p", "vigie", "-p", "vigie-producer"], self.env)
        title("the stack")
        running = subprocess.run([*STACK, "status", *NAME], env=self.env, stdout=subprocess.PIPE, text=True).stdout
        self.stack_is_ours = OWNED.exists() or "(pid" not in running
        if self.stack_is_ours:
            HOME.mkdir(parents=True, exist_ok=True)
            OWNED.touch()
        step([*STACK, "up", *NAME], self.env)
        self.folder.mkdir(parents=True)
        self.env = self.settings()
        self.have_scraped()
        lines = (f"export {key}={shlex.quote(value)}\n" for key, value in self.env.items() if key.startswith("VIGIE_"))
        (HOME / "run").write_text("# source this file: settings of the last demo\n" + "".join(lines))
        step([str(BINARIES / "vigie"), "migrate", "--demo"], self.env)

    def settings(self) -> dict[str, str]:
        """The stack's variables and this run's own."""
        return sourced(HOME / "env", self.env) | {
            "VIGIE_DATABASE__SCHEMA": self.schema,
            "VIGIE_STREAM__TOPIC": self.topic,
            "VIGIE_STREAM__GROUP": f"demo-{self.stamp}",
            "VIGIE_STREAM__BUNDLE": "models/card",
            "VIGIE_HTTP__LISTEN": f"127.0.0.1:{free_port()}",
            # A demo is short: what goes on is told every quarter of a minute, not every ten.
            "VIGIE_INCIDENTS__COOLDOWN": "15s",
            "VIGIE_INCIDENTS__HOURLY_CAP": "240",
            "VIGIE_REPORT__TO": "manager@localhost",
        }

    def have_scraped(self) -> None:
        """Tells the stack's Prometheus where this run's metrics will be."""
        self.target = Path(self.env["VIGIE_STACK_TARGETS"]) / "demo.json"
        self.target.parent.mkdir(exist_ok=True)
        self.target.write_text(json.dumps([{"targets": [self.env["VIGIE_HTTP__LISTEN"]]}]))

    def launch(self) -> Running:
        """Starts the producer, which makes the topic, and the processor, which waits for it."""
        title("payments")
        source = SOURCES[self.source](Asked(BINARIES, self.topic, self.rate, self.ledger))
        for helper in source.servers:
            self.children.append(start(helper, self.env, self.folder / "api.log"))
        producer = start(source.producer, self.env, self.folder / "producer.log")
        self.children.insert(0, producer)
        vigie = start([str(BINARIES / "vigie"), "run"], self.env, self.folder / "vigie.log")
        self.children.insert(1, vigie)
        self.database = Database([*STACK, "psql", "desk", *NAME], self.env, self.schema, die_with_parent)
        mails = Path(self.env["VIGIE_STACK_MAILS"])
        say(self.where_to_look(mails))
        page = f"http://{self.env['VIGIE_HTTP__LISTEN']}/metrics"
        return Running(producer, vigie, Watched(page, self.database, mails, f"*.{self.schema}@*.eml"))

    def where_to_look(self, mails: Path) -> str:
        query = (f"SELECT event_time, round(amount, 2) AS amount, merchant, category, "
                 f"round(score::numeric, 3) AS score, decision "
                 f"FROM {self.schema}.payments WHERE decision <> 'allow' ORDER BY amount DESC LIMIT 10")
        return (f"metrics   http://{self.env['VIGIE_HTTP__LISTEN']}/metrics\n"
                f"Prometheus {self.env['VIGIE_STACK_PROMETHEUS']}\n"
                f"mails     {mails.relative_to(ROOT)}/\n"
                f"log       {self.folder.relative_to(ROOT)}/vigie.log\n"
                f"query     scripts/stack.sh psql --name demo -- -c \"{query}\"\n"
                "commands  source .stack/demo/run; target/release/vigie offsets show\n"
                "Ctrl-C ends the payments; the results follow, and what was started here is stopped.\n")

    def check_alive(self, running: Running) -> None:
        vigie, producer = running.vigie.poll(), running.producer.poll()
        if vigie is not None:
            raise Failed(f"vigie run ended with exit code {vigie}:\n{self.tail('vigie.log')}")
        if producer not in (None, 0):
            raise Failed(f"the producer ended with exit code {producer}:\n{self.tail('producer.log')}")

    def tail(self, log: str) -> str:
        return "\n".join((self.folder / log).read_text(errors="replace").splitlines()[-10:])

    def stream(self, running: Running) -> Figures:
        """Shows what happens until the producer has ended and everything it sent is stored and mailed."""
        terminal = sys.stdout.isatty()
        until = time.monotonic() + self.seconds
        self.signals.payments_flow = True
        figures = Figures(terminal)
        shown = 0.0
        while not self.is_settled(running, figures):
            time.sleep(1)
            self.check_alive(running)
            if self.signals.asked and until > 0:
                until = 0
                say("\nno more payments: the results follow; Ctrl-C again stops at once")
            if time.monotonic() >= until and running.producer.poll() is None:
                running.producer.terminate()
            figures.look(running.watched)
            if figures.first_scored is None and figures.page.scored > 0:
                figures.first_scored = time.monotonic() - BEGAN
            if terminal:
                say(figures.line(os.get_terminal_size().columns), end="")
            elif time.monotonic() >= shown + 5:
                shown = time.monotonic()
                say(figures.line(None))
        say("" if terminal else figures.line(None))
        return figures

    def is_settled(self, running: Running, figures: Figures) -> bool:
        """After the producer's end, at most a minute is waited for the rest of the way."""
        if running.producer.poll() is None:
            return False
        if figures.sent is None:
            figures.sent = self.sent()
            figures.deadline = time.monotonic() + 60
        stored = figures.page.events() >= figures.sent and figures.lag() == 0
        return stored and figures.truth.unsent == 0 and figures.fresh or time.monotonic() >= figures.deadline

    def sent(self) -> int:
        """What Kafka acknowledged; a producer without a ledger does not tell, and the lag has to do."""
        return sum(1 for _ in self.ledger.open("rb")) if self.ledger.exists() else 0

    def leave_results(self, running: Running) -> tuple[list[tuple[str, Path]], list[str]]:
        """The report on yesterday, mailed, and the dashboards as pictures: what was made, by name, and what was not."""
        results = Results(BINARIES / "vigie", self.env, self.folder, self.schema, running.watched.mails)
        made, problems = [("mails", results.mails)], []
        title("the report on yesterday")
        day = results.yesterday(running.watched.database)
        if day is None:
            say("all payments are of today: its report comes tomorrow morning")
        else:
            problems += attempt(made, "the report", lambda: results.report(day))
        title("pictures of the dashboards")
        problems += attempt(made, "the pictures", lambda: results.pictures(day))
        return made, problems

    def accounts_hold(self) -> bool:
        title("the accounts")
        ledger = ["--ledger", str(self.ledger)] if self.ledger.exists() else []
        try:
            step([str(BINARIES / "vigie"), "reconcile", "--settled", *ledger], self.env)
        except Failed as failure:
            say(str(failure))
            return False
        return True

    def conclude(self, running: Running, figures: Figures) -> bool:
        """Ends the processor, reconciles, says what came of it; whether all of it is as promised."""
        made, problems = self.leave_results(running)
        drained = end(running.vigie, 15) == 0
        holds = self.accounts_hold()
        title("summary")
        say(figures.summary())
        show(made)
        say(f"Prometheus             {self.env['VIGIE_STACK_PROMETHEUS']} while the stack runs "
            "(scripts/stack.sh up --name demo)")
        # Cut short, it may have seen no fraud yet.
        whole = not self.signals.asked
        problems += [words for words, bad in (
            ("no payment was scored", figures.page.scored == 0 and whole),
            ("no mail arrived", figures.mails == 0 and self.source != "api" and whole),
            ("the accounts do not add up", not holds),
            ("vigie did not end by itself", not drained),
        ) if bad]
        for problem in problems:
            say(f"FAILED: {problem}")
        return not problems

    def clean_up(self) -> None:
        for child in self.children:
            end(child, 15)
        if self.target:
            self.target.unlink(missing_ok=True)
        if self.database:
            self.database.close()
        if self.stack_is_ours:
            subprocess.run([*STACK, "down", *NAME], env=self.env, start_new_session=True,
                           stdout=subprocess.DEVNULL)
            OWNED.unlink(missing_ok=True)
            say("stopped; the data stays, and scripts/stack.sh up --name demo starts what holds it")


def hold_lock() -> TextIO:
    """One demo at a time per clone, since they would share the stack's name; the lock ends with the process."""
    (ROOT / ".stack").mkdir(exist_ok=True)
    lock = (ROOT / ".stack/demo.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failed("another demo is under way in this clone") from None
    return lock


def main() -> int:
    os.chdir(ROOT)
    try:
        demo = Demo()
    except Usage as usage:
        say(f"demo: {usage}")
        return 2
    try:
        demo.signals.listen()
        lock = hold_lock()  # noqa: F841 - held until the process ends
        demo.prepare()
        running = demo.launch()
        return 0 if demo.conclude(running, demo.stream(running)) else 1
    except Failed as failure:
        say(f"demo: {failure}")
        return 1
    except Stopped as stopped:
        say("\nstopping…")
        return 128 + int(stopped.args[0])
    finally:
        ignore()
        demo.clean_up()


if __name__ == "__main__":
    sys.exit(main())
