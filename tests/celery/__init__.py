"""Beside a real Celery."""
