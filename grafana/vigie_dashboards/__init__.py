"""Vigie's dashboards: built, filled in as Grafana would, asked of real servers, drawn."""
