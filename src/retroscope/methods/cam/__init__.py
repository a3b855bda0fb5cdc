"""Class activation maps: a weight for each map of a layer, and the sum of the weighted maps."""
