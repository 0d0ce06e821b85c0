"""End to end: the real sidecar as a child process, told and asked as by anybody."""
