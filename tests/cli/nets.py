"""The user's own networks, healthy and sick: the file `nets.py` in their folder."""

NETS = """
import retroscope as rs
import torch
from torch import nn


def tiny():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3)
    )
    net.input_size = (32, 40)
    return net


def grey():
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU())
    net.input_size = 32
    return net


def uneven():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(7), nn.ReLU())
    net.input_size = 32
    return net


def not_a_number():
    net = tiny()
    nn.init.constant_(net[0].weight, float("nan"))
    return net


def dead():
    net = tiny()
    nn.init.constant_(net[0].weight, 0)
    nn.init.constant_(net[0].bias, -1)
    return net


def deeply_named():
    net = nn.Conv2d(3, 2, 3)
    for _ in range(6):
        net = nn.Sequential(nn.ReLU(), Named(net))
    net.input_size = 16
    return net


class Named(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.a_part_with_a_long_name = part

    def forward(self, x):
        return self.a_part_with_a_long_name(x)


class Chatty(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        print("the forward pass says", tuple(x.shape))
        return self.conv(x)


def chatty():
    print("the factory says hello")
    net = Chatty()
    net.input_size = 16
    return net


def four_channels():
    net = nn.Conv2d(4, 2, 3)
    net.input_size = 16
    return net


def window_too_large():
    net = nn.Conv2d(3, 2, 64)
    net.input_size = (32, 40)
    return net


def without_layers():
    return nn.Identity()


def fails():
    raise ValueError("no weights today\\nask again tomorrow")


def refuses():
    raise rs.RetroscopeError("the weights are\\nelsewhere")


def leaves():
    raise SystemExit("usage: train.py [-h]")


def stopped():
    raise KeyboardInterrupt


def asks_for_more(size):
    return tiny()


def a_number():
    return 3


def nothing():
    return None


def a_class():
    return nn.Conv2d


SIZES = (32, 40)
"""
TINY = "nets.py:tiny"

CLASSIFIER = """
import torch
from torch import nn


def tiny():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )
    net.input_size = (32, 40)
    net.labels = ["tabby", "Great Dane", "pier"]
    return net
"""
"""A healthy one with classes, called `tiny` too, for the tests that need some."""
