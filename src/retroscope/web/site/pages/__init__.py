"""The facts of the pages: a module for each group of pages, a function for each page."""
