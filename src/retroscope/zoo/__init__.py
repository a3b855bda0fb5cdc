"""Opens a network by its name."""
