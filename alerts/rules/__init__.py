"""Alerting and recording rules: made from the detectors, with a test of each beside it."""
