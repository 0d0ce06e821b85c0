"""Grafana dashboards: a module each, and the folder is the list. See `_board` for what one is."""
