"""What the viewer computes with a network beside the atlas."""
