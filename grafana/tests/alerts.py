"""What prometheus/ says: its rules, and the tests of its rules."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "prometheus/alerts.yml"
RUNBOOKS = ROOT / "docs/runbooks"


@dataclass(frozen=True, order=True)
class Rule:
    """One rule; a name may have a warning and a critical one."""

    alert: str
    severity: str


def rules() -> dict[Rule, dict[str, Any]]:
    """All of them, as they stand in the file."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    listed = [rule for group in groups for rule in group["rules"]]
    by_name = {Rule(rule["alert"], rule["labels"]["severity"]): rule for rule in listed}
    assert len(by_name) == len(listed), "two rules of one name and severity"
    return by_name


def expectations() -> list[tuple[str, set[str]]]:
    """Of every check in the unit tests: which alert, and which severities must fire then."""
    files = sorted(ROOT.glob("prometheus/*.test.yml"))
    checks = [
        check
        for file in files
        for test in yaml.safe_load(file.read_text())["tests"]
        for check in test["alert_rule_test"]
    ]
    return [
        (check["alertname"], {alert["exp_labels"]["severity"] for alert in check["exp_alerts"]}) for check in checks
    ]
