"""The viewer: an atlas as pages, from a small local server or as a folder of files."""
