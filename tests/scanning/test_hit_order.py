"""The order of the second pass, and what its hits cost."""

from retroscope.atlas.writer import MissingProjection
from retroscope.engine.rules import DECONVNET
from retroscope.scanning.hit_order import HitOrder
from tests.scanning.scans import tiny


def every_hit(ranks: int, images: int) -> list[MissingProjection]:
    """A hit of every channel and rank, in images that take turns."""
    net = tiny()
    return [
        MissingProjection(layer.name, channel, (channel + rank) % images, 0, 0, 1.0, rank)
        for layer in net.layers
        for channel in range(layer.channels)
        for rank in range(ranks)
    ]


def test_the_parts_of_a_pass_are_its_hits_in_their_order() -> None:
    """Of each rank first the units that see little, then those that see the whole image."""
    order = HitOrder(tiny(), DECONVNET)
    hits = order.sort(every_hit(ranks=3, images=5))
    parts = order.parts(hits)
    of_one_rank = ["first", "act", "pool", "second", "last_act", "whole images"]
    assert [part.kind for part in parts] == of_one_rank * 3
    start = 0
    for part in parts:
        layers = {hit.layer for hit in hits[start : start + part.items]}
        assert layers == ({"mean", "head"} if part.kind == "whole images" else {part.kind})
        start += part.items
    assert start == len(hits)


def test_a_hit_costs_more_the_more_of_its_image_it_sees() -> None:
    order = HitOrder(tiny(), DECONVNET)
    costs = {part.kind: part.cost for part in order.parts(order.sort(every_hit(1, 5)))}
    assert costs["first"] < costs["pool"] < costs["second"] < costs["whole images"]
