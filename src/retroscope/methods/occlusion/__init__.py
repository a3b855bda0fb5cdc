"""Occlusion maps, computed only where an occluder can change the result."""
