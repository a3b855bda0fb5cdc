"""Opens a network by its name: torchvision's, timm's, or anybody's own."""

from retroscope.zoo.registry import open_model

__all__ = ["open_model"]
