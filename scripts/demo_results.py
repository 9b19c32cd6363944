"""What the demo leaves behind for a person to look at: the report on a day, and pictures of the dashboards."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from demo_figures import Database
from demo_processes import ROOT, Failed, say, step

# The payments may be old ones that were moved: the day that most of them are of stands for yesterday.
YESTERDAY = """
SELECT event_day FROM payments_scored WHERE origin < 2 AND event_day < current_date
GROUP BY event_day ORDER BY count(*) DESC LIMIT 1
"""
# A report is queued, then sent by the processor.
MAILED_WITHIN = 30.0


@dataclass
class Results:
    """Where things are made, and with what."""

    vigie: Path
    env: dict[str, str]
    folder: Path
    schema: str
    mails: Path

    def yesterday(self, database: Database) -> str | None:
        """The day to report on; none where all payments are of today."""
        rows = database.query(YESTERDAY)
        return rows[0][0] if rows else None

    def report(self, day: str) -> list[tuple[str, Path]]:
        """Writes the report and has it mailed; its text and its mail."""
        folder = self.folder / "report"
        step([str(self.vigie), "report", "--day", day, "--send", "--output", str(folder)], self.env)
        await_that(f"the mail with the report on {day}", lambda: self.report_mails() != [])
        text = folder / f"report-{day}.txt"
        return [(f"report on {day}", text), *(("its mail", mail) for mail in self.report_mails())]

    def report_mails(self) -> list[Path]:
        mails = self.mails.glob(f"*.{self.schema}@*.eml")
        return [mail for mail in mails if "manager@localhost" in mail.read_text(errors="replace")]

    def pictures(self, day: str | None) -> list[tuple[str, Path]]:
        """Draws every panel of the dashboards from what Prometheus and PostgreSQL answer now."""
        folder = self.folder / "pictures"
        folder.mkdir()
        draw = [dashboards_python(self.env), "-m", "vigie_dashboards", "draw", str(folder), "--schema", self.schema,
                "--days", "14", *(["--day", day] if day else [])]
        step(draw, self.env | {"PYTHONPATH": str(ROOT / "grafana")}, self.folder / "pictures.log")
        return [(f"dashboard {picture.stem}", picture) for picture in sorted(folder.glob("*.png"))]


def dashboards_python(env: dict[str, str]) -> str:
    """The interpreter that draws the dashboards, in an environment that is made when it is missing."""
    venv = subprocess.run([ROOT / "grafana/venv.sh"], env=env, stdout=subprocess.PIPE, text=True)
    if venv.returncode != 0:
        raise Failed("the Python environment of the dashboards could not be made")
    return venv.stdout.strip().splitlines()[-1]


def attempt(made: list[tuple[str, Path]], what: str, make: Callable[[], list[tuple[str, Path]]]) -> list[str]:
    """Adds what is made; one that fails is a problem to tell of, and keeps nobody from what comes after it."""
    try:
        made += make()
    except Failed as failure:
        say(str(failure))
        return [f"{what} could not be made: {failure}"]
    return []


def await_that(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + MAILED_WITHIN
    while not holds():
        if time.monotonic() > deadline:
            raise Failed(f"{what} did not come within {MAILED_WITHIN:.0f} s")
        time.sleep(0.2)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def show(paths: list[tuple[str, Path]]) -> None:
    for name, path in paths:
        say(f"{name:<22} {relative(path)}")
