"""Weight files of other libraries: a reader per format, all converted to one layout."""

from retroscope.zoo.weights.formats import read_weights

__all__ = ["read_weights"]
