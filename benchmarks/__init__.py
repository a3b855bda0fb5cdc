"""Fair ratios between programs: run in turn, on one machine, in one process."""
