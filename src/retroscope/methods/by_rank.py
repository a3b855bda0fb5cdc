"""torch's functions and names for signals, images and volumes, by the number of axes."""

import torch.nn.functional as F

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""The modes of `interpolate`."""
