"""A list of images, or a batch of them, gives a list of results: those of the single images."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset

from retroscope.errors import ImageError, RetroscopeError
from retroscope.imaging.image import Fit, read_image
from retroscope.methods.activations import activations
from retroscope.methods.cam.cam import cam
from retroscope.methods.deconv.deconv import deconv
from retroscope.methods.explain import explain
from retroscope.methods.image_lists import image_of_sample, is_image_list
from retroscope.methods.occlusion.occlusion import occlusion
from retroscope.methods.saliency import saliency
from retroscope.network import AnyImage, Network
from retroscope.results.explanations import Explanation
from retroscope.results.heat_maps import HeatMap, OcclusionMap
from retroscope.results.projections import Activations, Projection

Result = Activations | HeatMap | OcclusionMap | Projection


@pytest.fixture
def net() -> Network:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3), nn.ReLU()]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network(module, input_size=(16, 18), labels=("a", "b", "c", "d"))


@pytest.fixture
def mixed(tmp_path: Path) -> list[AnyImage]:
    """A path, text, a PIL image, an array, an image and tensors of two sizes."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 20, 30, 3), np.uint8)
    for number in range(3):
        PIL.Image.fromarray(pixels[number]).save(tmp_path / f"{number}.png")
    return [
        tmp_path / "0.png",
        str(tmp_path / "1.png"),
        torch.rand(3, 12, 20),
        read_image(tmp_path / "2.png"),
        PIL.Image.fromarray(pixels[3]),
        pixels[4],
        torch.rand(3, 16, 18),
    ]


def results(net: Network, images: Any) -> list[list[Result]]:
    """The results of each function for several images."""
    lists = [
        deconv(net, "3:1", images),
        cam(net, images, target="b"),
        saliency(net, images, target=1),
        activations(net, "3", images),
        occlusion(net, images, target=2, size=4),
    ]
    assert all(isinstance(result, list) for result in lists)
    return lists


def assert_same(results_of_list: list[list[Result]], singles: list[list[Result]]) -> None:
    for in_list, single in zip(results_of_list, zip(*singles, strict=True), strict=True):
        for result, expected in zip(in_list, single, strict=True):
            assert type(result) is type(expected)
            assert result.source == expected.source
            assert getattr(result, "fit", None) == getattr(expected, "fit", None)
            np.testing.assert_allclose(np.asarray(result), np.asarray(expected), atol=1e-6)


def single_results(net: Network, image: AnyImage) -> list[Result]:
    return [
        deconv(net, "3:1", image),
        cam(net, image, target="b"),
        saliency(net, image, target=1),
        activations(net, "3", image),
        occlusion(net, image, target=2, size=4),
    ]


def test_a_mixed_list_gives_what_its_images_give(net: Network, mixed: list[AnyImage]) -> None:
    assert_same(results(net, mixed), [single_results(net, image) for image in mixed])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_batch_gives_a_list_also_of_one(net: Network, count: int) -> None:
    batch = torch.rand(count, 3, 16, 18)
    lists = results(net, batch)
    assert [len(result) for result in lists] == [count] * 5
    if count:
        assert_same(lists, [single_results(net, image) for image in batch])


def test_an_array_with_a_dimension_for_images_is_a_batch(net: Network) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 18, 3), np.uint8)
    assert is_image_list(pixels)
    assert len(activations(net, "3", list(pixels))) == 2


def test_heat_maps_of_a_list_know_how_their_images_were_fitted(
    net: Network, mixed: list[AnyImage]
) -> None:
    fits = [heat.fit for heat in cam(net, mixed)]
    assert fits == [None if isinstance(x, torch.Tensor) else Fit((16, 18)) for x in mixed]


@pytest.mark.parametrize("bad", ["none.jpg", torch.zeros(1, 3, 16, 18), torch.zeros(4, 16, 18)])
def test_an_error_names_the_position_of_the_image(net: Network, bad: AnyImage) -> None:
    images = [torch.rand(3, 16, 18), torch.rand(3, 16, 18), bad]
    for run in (
        lambda: deconv(net, "3:1", images),
        lambda: cam(net, images),
        lambda: saliency(net, images),
        lambda: activations(net, "3", images),
        lambda: occlusion(net, images, size=4),
    ):
        with pytest.raises(ImageError, match=r"^images\[2\]: "):
            run()


def test_the_error_of_a_single_image_has_no_position(net: Network) -> None:
    with pytest.raises(RetroscopeError, match=r"^cannot open 'none.jpg'"):
        activations(net, "3", "none.jpg")


def test_images_of_one_size_run_together(net: Network) -> None:
    sizes: list[int] = []
    hook = net.module[0].register_forward_pre_hook(  # type: ignore[index]
        lambda _module, inputs: sizes.append(len(inputs[0]))
    )
    activations(net, "3", torch.rand(2, 3, 16, 18))  # the first finds out that images are separate
    sizes.clear()
    activations(net, "3", torch.rand(5, 3, 16, 18))
    hook.remove()
    assert sizes == [5]


def test_networks_that_mix_the_images_of_a_batch_run_them_one_by_one() -> None:
    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps: torch.Tensor = self.conv(images)
            return torch.relu(maps - maps.mean(dim=0, keepdim=True) + 0.1 * maps)

    mixing, batch = Network(Mixing(), input_size=(8, 8)), torch.rand(3, 3, 8, 8)
    name = mixing.layers[-1].name
    for result, image in zip(activations(mixing, name, list(batch)), batch, strict=True):
        np.testing.assert_array_equal(result.maps, activations(mixing, name, image).maps)


# Data sets, loaders and iterators


class Photos(Dataset[Any]):
    """Images and their labels, by index; `pack` makes a sample of them."""

    def __init__(self, images: list[Any], pack: Callable[[Any, int], object] | None = None) -> None:
        self.images = images
        self.pack = pack or (lambda image, label: (image, label))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> object:
        return self.pack(self.images[index], index)


class Stream(IterableDataset[Any]):
    def __init__(self, images: list[Any]) -> None:
        self.images = images

    def __iter__(self) -> Iterator[object]:
        return iter([(image, 0) for image in self.images])


class Items:
    """A data set that knows nothing of torch."""

    def __init__(self, images: list[Any]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> object:
        return self.images[index]


def apart(batch: list[Any]) -> object:
    """Collates as detectors do: a tuple of images and one of targets."""
    return tuple(zip(*batch, strict=True))


HOLDERS: dict[str, Callable[[list[Any]], object]] = {
    "tuple": tuple,
    "iterator": iter,
    "generator": lambda images: (image for image in images),
    "array": torch.stack,
    "data set of pairs": Photos,
    "data set of images": lambda images: Photos(images, lambda image, _label: image),
    "data set of lists": lambda images: Photos(images, lambda image, label: [image, label]),
    "data set of dictionaries": lambda images: Photos(
        images, lambda image, label: {"label": label, "image": image}
    ),
    "subset": lambda images: Subset(Photos([*images, None]), range(len(images))),
    "joined": lambda images: ConcatDataset([Photos(images[:1]), Photos(images[1:])]),
    "stream": Stream,
    "plain data set": Items,
    "loader": lambda images: DataLoader(Photos(images), batch_size=2),
    "loader of images": lambda images: DataLoader(
        Photos(images, lambda image, _label: image), batch_size=2
    ),
    "loader of dictionaries": lambda images: DataLoader(
        Photos(images, lambda image, label: {"pixel_values": image, "labels": label})
    ),
    "loader of single samples": lambda images: DataLoader(Photos(images), batch_size=None),
    "loader that keeps samples apart": lambda images: DataLoader(
        Photos(images), batch_size=2, collate_fn=apart
    ),
    "loader of lists": lambda images: DataLoader(
        Photos(images, lambda image, _label: image), batch_size=2, collate_fn=list
    ),
    "loader of a stream": lambda images: DataLoader(Stream(images), batch_size=2),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_whatever_holds_images_gives_what_they_give(net: Network, holder: str) -> None:
    images = list(torch.rand(3, 3, 16, 18, generator=torch.Generator().manual_seed(3)))
    held = HOLDERS[holder](images)
    assert is_image_list(held)
    maps = activations(net, "3", held)
    for result, image in zip(maps, images, strict=True):
        expected = activations(net, "3", net.prepare(image))
        np.testing.assert_allclose(result.maps, expected.maps, atol=1e-6)


def test_every_function_takes_a_data_set(net: Network) -> None:
    images = list(torch.rand(2, 3, 16, 18))
    assert_same(results(net, Photos(images)), [single_results(net, image) for image in images])


def test_a_data_set_of_pixels_is_fitted_like_its_images(net: Network) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)
    expected = single_results(net, pixels[0])
    assert_same(results(net, Photos([PIL.Image.fromarray(pixels[0])])), [expected])
    assert_same(results(net, Photos([pixels[0]])), [expected])


def test_paths_come_from_an_iterator_too(net: Network, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (18, 16)).save(tmp_path / "a.png")
    (result,) = activations(net, "3", tmp_path.glob("*.png"))
    assert result.source == str(tmp_path / "a.png")


def test_uint8_tensors_are_pixels(net: Network) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    assert_same(results(net, tensor), [single_results(net, image) for image in pixels])
    grey = torch.full((1, 20, 30), 7, dtype=torch.uint8)
    assert (net.prepare(grey).rgb == 7).all()
    with pytest.raises(
        ImageError, match=r"uint8 tensor is an image of \(3, height, .* \(20, 30, 3\)"
    ):
        net.prepare(torch.from_numpy(pixels[0]))


def test_a_loader_keeps_its_order_and_its_choice(net: Network) -> None:
    images = list(torch.rand(4, 3, 16, 18))
    loader = DataLoader(Photos(images), batch_size=2, sampler=[3, 1])
    maps = activations(net, "3", loader)
    for result, index in zip(maps, (3, 1), strict=True):
        expected = activations(net, "3", images[index]).maps
        np.testing.assert_allclose(result.maps, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"image": 1}, "not dict; of a sample of a data set, give the image alone"),
        ({1, 2}, "not set"),
        (None, "not NoneType"),
        (
            np.zeros((3, 4, 3)),
            r"not float64 of shape .*torch\.from_numpy\(array\) for the network's",
        ),
        (np.zeros((3, 4, 4), np.uint8), r"channels come first; give array\.transpose\(1, 2, 0\)"),
        (torch.rand(1, 1, 3, 16, 18), r"takes a float tensor of \(3, height, width\)"),
    ],
)
def test_what_holds_no_images_is_refused(net: Network, value: Any, said: str) -> None:
    for run in (cam, saliency, partial(occlusion, size=4)):
        with pytest.raises(ImageError, match=said):
            run(net, value)


def test_an_open_file_is_no_list_of_lines(net: Network, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with (
        (tmp_path / "a.png").open("rb") as file,
        pytest.raises(ImageError, match=r"open a file with PIL\.Image\.open\(file\)"),
    ):
        cam(net, file)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([(torch.rand(3, 16, 18), 1)], r"images\[0\]: .* not tuple; give one image"),
        ([torch.rand(2, 3, 16, 18)], r"images\[0\]: .* it is a batch, give one image of it"),
        (Photos([3]), "the data set returns a int; it must return a PIL image"),
        (Photos([3], lambda image, _label: {"pixels": image}), "the data set returns a dict"),
    ],
)
def test_lists_of_something_else_are_refused(net: Network, images: Any, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        cam(net, images)


def test_a_sample_without_an_image_is_refused() -> None:
    with pytest.raises(ImageError, match="returns a list"):
        image_of_sample([])


def test_types_say_whether_one_or_many_come(net: Network, tmp_path: Path) -> None:
    """mypy reads this; an array may hold one image or many, so it promises nothing for it."""
    path, tensor = tmp_path / "a.png", torch.rand(3, 16, 18)
    PIL.Image.new("RGB", (18, 16)).save(path)
    assert_type(cam(net, path), HeatMap)
    assert_type(cam(net, net.prepare(tensor)), HeatMap)
    assert_type(cam(net, [path]), list[HeatMap])
    assert_type(cam(net, (path, tensor)), list[HeatMap])
    assert_type(cam(net, iter([tensor])), list[HeatMap])
    assert_type(cam(net, Photos([tensor])), list[HeatMap])
    assert_type(cam(net, DataLoader(Photos([tensor]))), list[HeatMap])
    assert_type(cam(net, tensor), Any)
    assert_type(deconv(net, "3:1", str(path)), Projection)
    assert_type(deconv(net, "3:1", list(tensor[None])), list[Projection])
    assert_type(activations(net, "3", path), Activations)
    assert_type(saliency(net, [str(path)]), list[HeatMap])
    assert_type(occlusion(net, path, size=4), OcclusionMap)
    assert_type(occlusion(net, [path], size=4), list[OcclusionMap])


def test_explanations_of_several_images_are_those_of_each(
    net: Network, mixed: list[AnyImage]
) -> None:
    explanations = explain(net, mixed, top=1, target="b", contrast=False)
    assert_type(explanations, list[Explanation])
    for explanation, image in zip(explanations, mixed, strict=True):
        expected = explain(net, net.prepare(image), top=1, target="b", contrast=False)
        assert explanation.source == expected.source
        np.testing.assert_array_equal(explanation.heat.values, expected.heat.values)
        units = [finding.units for finding in explanation.findings]
        assert str(units) == str([finding.units for finding in expected.findings])
    (explanation,) = explain(net, torch.rand(1, 3, 16, 18), top=1, contrast=False)
    assert isinstance(explanation, Explanation)
