"""What a pass over many pictures gathers of each layer; every part adds and merges."""
