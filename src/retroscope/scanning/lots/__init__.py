"""A scan in parts: a plan folder, the lots of its images, their segments, and how they merge."""
