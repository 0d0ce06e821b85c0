"""The shared words, and nothing that acts."""
