"""The atlas: all that a scan found, in one SQLite file that opens without torch."""
