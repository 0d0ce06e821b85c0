"""Alertmanager's configuration for our alerts: who is told, what mutes what, how it reads."""
