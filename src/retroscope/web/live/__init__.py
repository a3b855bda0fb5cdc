"""What the viewer computes with a network attached: the analyses of an uploaded image."""
