"""The crash suite: nothing acknowledged is ever lost or doubled (`python -m tests.crash --help`)."""
