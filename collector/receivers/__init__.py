"""One way in per file."""
