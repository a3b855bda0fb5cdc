"""Opens networks by name: torchvision, timm, Keras, Caffe, a user's function, or a weight file."""

from retroscope.zoo.registry import open_model

__all__ = ["open_model"]
