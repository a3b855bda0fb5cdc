"""Images: read safely, resized, cropped and fitted to a network. No torch."""
