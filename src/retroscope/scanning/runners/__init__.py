"""Runners do tasks in other processes, here or on a cluster. They know nothing of scans."""
