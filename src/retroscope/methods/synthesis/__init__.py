"""Patterns by optimisation: an objective, a canvas, transforms and an ascent make a picture."""
