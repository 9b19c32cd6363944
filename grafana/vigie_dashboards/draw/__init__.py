"""Draws a dashboard from its panels' answers, laid out on Grafana's grid."""
