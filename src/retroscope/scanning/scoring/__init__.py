"""Numbers and names of units, computed for a scanned atlas."""
