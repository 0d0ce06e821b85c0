"""Degrade switches: the leased record, the policies that set it, and what programs read of it."""
