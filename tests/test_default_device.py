"""A program may tell torch to make its tensors on a GPU: `torch.set_default_device("cuda")`.

The network is where it was loaded, so every answer must be the same. Tensors on the meta device,
which hold no values, stand for those on a GPU.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import retroscope as rs
from retroscope.methods.saliency import SALIENCY_METHODS
from tests.scanning.scans import write_images

LAYER = "features.3"
UNIT = f"{LAYER}:0"
Answer = Callable[[Any, Any, Path], object]


@pytest.fixture
def elsewhere() -> Iterator[Callable[[], None]]:
    """Makes tensors elsewhere by default, until the test ends."""
    yield lambda: torch.set_default_device("meta")
    torch.set_default_device("cpu")


def scanned(net: rs.Network, _image: object, folder: Path) -> object:
    images = write_images(folder / "images" / "cats", 3)
    write_images(images.parent / "dogs", 3)
    atlas = rs.scan(
        *(net, images.parent),
        to=folder / f"{torch.get_default_device().type}.atlas",
        layers=[LAYER],
        per_class=1,
        projections=1,
        restart=True,
    )
    return [str(atlas.sql("SELECT * FROM named_hits")), str(atlas.stats(UNIT).values)]


def explained(net: rs.Network, image: Any, _folder: Path) -> object:
    explanation: Any = rs.explain(net, image)
    return explanation.heat


def saliency_by(method: str) -> Answer:
    return lambda net, image, _: rs.saliency(net, image, method=method)


ANSWERS: dict[str, Answer] = {
    "activations": lambda net, image, _: rs.activations(net, LAYER, image),
    "deconv": lambda net, image, _: rs.deconv(net, UNIT, image),
    "cam": lambda net, image, _: rs.cam(net, image),
    "occlusion": lambda net, image, _: rs.occlusion(net, image, size=16, stride=16),
    "explain": explained,
    "synthesize": lambda net, _, __: rs.synthesize(net, UNIT, steps=3, size=32),
    "scan": scanned,
} | {method: saliency_by(method) for method in SALIENCY_METHODS}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_answers_do_not_depend_on_the_default_device(
    answer: Answer, elsewhere: Callable[[], None], tmp_path: Path
) -> None:
    net = rs.open_model("demo")
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    expected = answer(net, image, tmp_path)
    elsewhere()
    np.testing.assert_equal(np.asarray(answer(net, image, tmp_path)), np.asarray(expected))
