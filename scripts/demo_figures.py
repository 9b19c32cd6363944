"""What the demo shows: figures from /metrics, from the database and from the folder of mails."""

import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SAMPLE = re.compile(r"^(vigie_\w+)(?:\{(.*)\})? ([0-9.eE+-]+|NaN)$")
LABEL = re.compile(r'(\w+)="([^"]*)"')
LATENCY = "vigie_end_to_end_seconds_bucket"
# Decided payments against the truth that came with them, and alerts whose mail is not sent yet; not our own canary's.
TRUTH = """
SELECT count(*) FILTER (WHERE l.label),
       count(*) FILTER (WHERE l.label AND p.decision > 0),
       count(*) FILTER (WHERE NOT l.label AND p.decision > 0),
       (SELECT count(*) FROM fraud_alerts AS a LEFT JOIN outbox AS o ON o.id = a.outbox_id
        WHERE o.sent_at IS NULL AND a.origin = 0)
FROM payments_scored AS p
JOIN labels AS l USING (event_time, trans_num, account, event_day, stream)
WHERE p.origin = 0
"""


@dataclass
class Page:
    """One reading of /metrics."""

    samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "Page":
        page = cls()
        for line in text.splitlines():
            if found := SAMPLE.match(line):
                page.samples[found[1], frozenset(LABEL.findall(found[2] or ""))] = float(found[3])
        return page

    def total(self, name: str, **labels: str) -> float:
        """Of all series of that name that have these labels."""
        wanted = set(labels.items())
        return sum(value for (known, have), value in self.samples.items() if known == name and wanted <= have)

    @property
    def scored(self) -> int:
        """Payments decided; unlike the events, these leave our own canary out."""
        return int(self.total("vigie_decisions_total"))

    @property
    def dead(self) -> int:
        return int(self.total("vigie_events_total", outcome="dead"))

    def events(self) -> int:
        """Records of the producer's that are dealt with."""
        return self.scored + self.dead + int(self.total("vigie_events_total", outcome="duplicate"))

    def latencies(self) -> dict[float, float]:
        """Upper bound in seconds to the number of payments at or below it."""
        return {float(dict(have)["le"].replace("+Inf", "inf")): value
                for (name, have), value in self.samples.items() if name == LATENCY}


def fetch(address: str) -> str | None:
    """A page, or nothing while nobody answers."""
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return str(answer.read(), "utf-8")
    except (OSError, urllib.error.URLError):
        return None


def quantile(share: float, after: dict[float, float], before: dict[float, float]) -> float | None:
    """Seconds, between two readings of a histogram; evenly spread within a bucket."""
    counts = sorted((bound, value - before.get(bound, 0.0)) for bound, value in after.items())
    if not counts or counts[-1][1] <= 0:
        return None
    rank = share * counts[-1][1]
    low, below = 0.0, 0.0
    for bound, count in counts:
        if count >= rank:
            return low if bound == float("inf") else low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    return low


class Database:
    """One psql that answers one query after the other; another one when the server was away."""

    def __init__(self, psql: list[str], env: dict[str, str], schema: str, in_child: Callable[[], None]) -> None:
        self.command = [*psql, "--", "-qAtF,"]
        self.env = env
        self.schema = schema
        self.in_child = in_child
        self.psql: subprocess.Popen[str] | None = None

    def query(self, sql: str) -> list[list[str]] | None:
        """The rows; nothing while the server is away."""
        try:
            if self.psql is None:
                self.psql = subprocess.Popen(self.command, env=self.env, stdin=subprocess.PIPE,
                                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                             start_new_session=True, preexec_fn=self.in_child)
                ask(self.psql, f"SET search_path TO {self.schema}")
            return ask(self.psql, sql)
        except OSError:
            self.close()
            return None

    def close(self) -> None:
        if self.psql is not None:
            self.psql.terminate()
            self.psql.wait()
            self.psql = None


def ask(psql: subprocess.Popen[str], sql: str) -> list[list[str]]:
    assert psql.stdin and psql.stdout
    psql.stdin.write(f"{sql.strip()};\n\\echo end of answer\n")
    psql.stdin.flush()
    rows: list[list[str]] = []
    for line in psql.stdout:
        if line == "end of answer\n":
            return rows
        rows.append(line.rstrip("\n").split(","))
    raise ConnectionError("psql has ended")


@dataclass
class Truth:
    """Against the labels."""

    frauds: int = 0
    caught: int = 0
    false_alarms: int = 0
    unsent: int = 0


@dataclass
class Watched:
    """Where the figures come from."""

    page: str
    database: Database
    mails: Path
    mail_names: str


class Figures:
    """All readings so far."""

    def __init__(self, terminal: bool) -> None:
        self.terminal = terminal
        self.page = Page()
        self.truth = Truth()
        self.mails = 0
        # Whether the last look found everything; a page that is not there yet says nothing.
        self.fresh = False
        self.sent: int | None = None
        self.deadline = float("inf")
        self.first_scored: float | None = None
        self.began = time.monotonic()
        # The last ten seconds, for rate and p99; and, for the summary, the page some seconds after the first
        # payment: those that waited for the processor's start say nothing about its speed.
        self.recent: list[tuple[float, Page]] = []
        self.began_scoring: float | None = None
        self.caught_up: Page | None = None

    def look(self, watched: Watched) -> None:
        text = fetch(watched.page)
        if text is None:
            self.fresh = False
            return
        self.page = Page.parse(text)
        now = time.monotonic()
        self.recent = [(at, page) for at, page in self.recent if now - at <= 10] + [(now, self.page)]
        if self.began_scoring is None and self.page.scored > 0:
            self.began_scoring = now
        if self.caught_up is None and self.began_scoring and now - self.began_scoring >= 5 and self.lag() == 0:
            self.caught_up = self.page
        rows = watched.database.query(TRUTH)
        self.fresh = bool(rows)
        if rows:
            self.truth = Truth(*map(int, rows[0]))
        self.mails = sum(1 for _ in watched.mails.glob(watched.mail_names))

    def lag(self) -> int:
        return int(self.page.total("vigie_consumer_lag"))

    def rate(self) -> float:
        (before, first), (after, last) = self.recent[0], self.recent[-1]
        return (last.events() - first.events()) / (after - before) if after > before else 0.0

    def decided(self, decision: str) -> int:
        return int(self.page.total("vigie_decisions_total", decision=decision))

    def decisions(self) -> str:
        allow, review, block = (self.decided(decision) for decision in ("allow", "review", "block"))
        return f"{allow:,} allowed, {review:,} review, {block:,} blocked"

    def fraud(self) -> str:
        return f"{self.truth.caught} of {self.truth.frauds} caught, {self.truth.false_alarms} false alarms"

    def line(self, columns: int | None) -> str:
        """What happens now; on a terminal in place of the line before, shorter where that is narrow."""
        seconds = int(time.monotonic() - self.began)
        if not self.recent:
            pace = f"{seconds:3d} s  waiting for the processor"
            return pace if columns is None else f"\r\x1b[K{pace[:columns - 1]}"
        p99 = quantile(0.99, self.page.latencies(), self.recent[0][1].latencies())
        pace = f"{seconds:3d} s  {self.rate():.0f}/s  lag {self.lag()}  p99 {milliseconds(p99)}"
        text = f"{pace}  |  {self.decisions()}  |  fraud {self.fraud()}  |  mails {self.mails}"
        if columns is None:
            return text
        if len(text) >= columns:
            stopped = int(self.page.total("vigie_decisions_total")) - self.decided("allow")
            text = (f"{pace} | {self.page.scored:,} scored, {stopped:,} stopped | "
                    f"fraud {self.truth.caught}/{self.truth.frauds} | mails {self.mails}")
        return f"\r\x1b[K{text[:columns - 1]}"

    def summary(self) -> str:
        latencies, before = self.page.latencies(), (self.caught_up or Page()).latencies()
        p50, p99 = (milliseconds(quantile(share, latencies, before)) for share in (0.5, 0.99))
        sent = "" if not self.sent else f"{self.sent:,} sent, "
        first = "never" if self.first_scored is None else f"{self.first_scored:.0f} s after the start"
        return "\n".join((
            f"first payment scored   {first}",
            f"payments               {sent}{self.page.scored:,} scored, {self.page.dead:,} dead letters",
            f"decisions              {self.decisions()}",
            f"fraud                  {self.fraud()}",
            f"record to stored row   p50 {p50}, p99 {p99} (without the first seconds)",
            f"mails                  {self.mails}",
        ))


def milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:.0f} ms"
