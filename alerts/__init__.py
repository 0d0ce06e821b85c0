"""Metrics, rules, Alertmanager routing and degrade switches, all made from findings."""
