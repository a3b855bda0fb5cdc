"""The pages of the viewer, made from an atlas alone. No torch."""
