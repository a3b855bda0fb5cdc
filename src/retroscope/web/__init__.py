"""The viewer: the pages of an atlas, from a local server or exported as files."""
