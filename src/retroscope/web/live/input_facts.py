"""What the viewer says of the inputs of a network that takes several."""

from retroscope.engine.batching import NetworkInput
from retroscope.geometry import format_size
from retroscope.imaging.encoding import png_url
from retroscope.input_binding import preparing_network, show_other
from retroscope.module_inputs import ImageInput, describe_value
from retroscope.network import Network
from retroscope.web.site.site import Facts


def input_facts(net: Network) -> Facts | None:
    """The inputs as the form of the viewer asks for them; None if the network takes an image alone.

    `image` is looked back to; `others` come with each image, and `held` are the same for all.
    """
    inputs = net.inputs
    if inputs is None:
        return None
    others = [
        {
            "name": name,
            "kind": "image" if isinstance(kind, ImageInput) else "numbers",
            "description": describe_input(net, name),
            "example": kind.example,
        }
        for name, kind in inputs.per_image.items()
    ]
    held = [_value_facts(net, name, value) for name, value in inputs.held.items()]
    return {"image": inputs.image, "others": others, "held": held}


def describe_input(net: Network, name: str) -> str:
    """An input in words: what it is, and of which size."""
    assert net.inputs is not None
    kind = net.inputs.kinds.get(name, net.inputs.own)
    if not isinstance(kind, ImageInput):
        return kind.description
    preparing = net if name == net.inputs.image else preparing_network(net, kind)
    return f"{kind.description}, fitted to {format_size(preparing.input_size)}"


def other_facts(net: Network, image: NetworkInput) -> list[Facts]:
    """What comes with an image, as the network receives it."""
    return [_value_facts(net, name, value[None]) for name, value in image.others.items()]


def _value_facts(net: Network, name: str, value: object) -> Facts:
    """A value of an input, with one row if it is a tensor: a picture if it is one, else a text."""
    pixels = show_other(net, name, value)
    if pixels is None:
        return {"name": name, "text": describe_value(value)}
    return {"name": name, "image": png_url(pixels), "size": list(pixels.shape[:2])}
