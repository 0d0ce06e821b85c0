"""What tells people and programs: metrics, and who is told at all."""
