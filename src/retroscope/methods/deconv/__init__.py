"""Projections: what in an image made a unit fire."""
