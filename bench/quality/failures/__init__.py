"""The failures that are injected, one a file. See `bench.quality.kit`."""
