"""Vigie's dashboards: built, filled in as Grafana would, asked of real servers, drawn."""

from pathlib import Path

GRAFANA = Path(__file__).resolve().parents[1]
COMMITTED = GRAFANA / "dashboards"
