"""`zombiewatch exec`: wraps any job, and tells of its start, its life and its end.

Nothing here may make a job fail or wait: it has begun before the first word about it is sent, and
what could not be sent when it has ended is kept for whoever comes next. Standard library only, so
that a job costs little more than it did.
"""
