"""Incidents as real processes."""
