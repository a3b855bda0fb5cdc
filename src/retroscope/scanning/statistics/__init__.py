"""What a scan accumulates for each layer: rankings and sums, all of which merge."""
