"""Weights that other libraries saved: one file per format, each read into one form."""

from retroscope.zoo.weights.formats import read_weights

__all__ = ["read_weights"]
