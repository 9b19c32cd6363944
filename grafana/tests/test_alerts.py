"""The alert rules: what they are made of, and what promtool says of them."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import alerts
import pytest
from alerts import ROOT, RULES, RUNBOOKS, Rule

TOOLS = Path(os.environ["VIGIE_STACK_TOOLS"])
VIGIE = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug/vigie"
# `vigie offsets show --json`: in a line of commands, or in the midst of a sentence.
COMMAND = re.compile(r"^ {4,}(vigie .*)$|`(vigie [^`]+)`", re.MULTILINE)


def ask(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_promtool_accepts_the_rules() -> None:
    said = ask(TOOLS / "promtool", "check", "rules", RULES)
    assert f"{len(alerts.rules())} rules found" in said


def test_promtool_accepts_the_configuration_with_its_secrets_in_place(tmp_path: Path) -> None:
    (tmp_path / "metrics_token").write_text("secret")
    (tmp_path / "prometheus").symlink_to(RULES.parent)
    text = (ROOT / "prometheus.yml").read_text()
    assert "/run/secrets/" in text
    config = tmp_path / "prometheus.yml"
    config.write_text(text.replace("/run/secrets/", f"{tmp_path}/"))
    assert "1 rule files found" in ask(TOOLS / "promtool", "check", "config", config)


def test_every_rule_fires_and_does_not_fire_in_the_unit_tests_which_pass() -> None:
    checks = alerts.expectations()
    for rule in alerts.rules():
        severities = [firing for alert, firing in checks if alert == rule.alert]
        assert any(rule.severity in firing for firing in severities), f"{rule} never fires in a test"
        assert any(rule.severity not in firing for firing in severities), f"{rule} always fires in the tests"
    ask(TOOLS / "promtool", "test", "rules", *sorted(ROOT.glob("prometheus/*.test.yml")))


@pytest.mark.parametrize("rule", sorted(alerts.rules()), ids=lambda rule: f"{rule.alert}-{rule.severity}")
def test_a_rule_says_what_it_is_and_where_its_page_is(rule: Rule) -> None:
    assert rule.severity in ("warning", "critical")
    said = alerts.rules()[rule]["annotations"]
    assert said["summary"] and said["description"].endswith(".")
    assert said["runbook_url"] == f"docs/runbooks/{rule.alert}.md"


def test_every_rule_has_a_page_and_every_page_a_rule() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {rule.alert for rule in alerts.rules()}


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_a_page_says_what_it_means_how_to_look_and_what_to_do(page: Path) -> None:
    text = page.read_text()
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert titles == [page.stem, "What it means", "How to look", "What to do"]
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (RUNBOOKS / link).exists(), f"{page.name} leads to {link}, which does not exist"


def test_every_command_of_the_pages_exists_with_its_options() -> None:
    found = {one or other for page in RUNBOOKS.glob("*.md") for one, other in COMMAND.findall(page.read_text())}
    assert len(found) > 10
    for command in sorted(found):
        words = shlex.split(command, comments=True)[1:]
        verbs = [word for word in words[:2] if re.fullmatch(r"[a-z][a-z-]*", word)]
        usage = ask(VIGIE, *verbs, "--help")
        for option in (word for word in words if word.startswith("--")):
            assert option in usage, f"{command}: {option} is unknown"
