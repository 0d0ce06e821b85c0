"""The bench: what the sidecar does in a second, beside what the machine could do."""
