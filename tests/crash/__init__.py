"""The crash suite: is anything acknowledged lost or doubled? See `python -m tests.crash -h`."""
