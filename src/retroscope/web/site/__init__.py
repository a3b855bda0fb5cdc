"""The pages and files of the viewer, from an atlas alone. No torch."""
