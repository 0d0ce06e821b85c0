"""Grafana boards and the page."""
