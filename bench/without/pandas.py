"""Not pandas: first on the sidecar's path, so that it runs as in an environment of its own.

Test tools bring pandas along, and pyarrow imports it at its first array where it can be found:
30 MB and 0.4 s that no installation of ours has.
"""

raise ImportError
