"""The scan: one pass over the images, then the projections of the winners."""
