"""A network and all that belongs to it: what it is fed, what it is called, what it refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchvision.transforms import functional

import retroscope as rs
from retroscope.engine.program import Survey
from retroscope.engine.survey import survey
from retroscope.errors import ImageError, ModelError, UnitError
from retroscope.imaging.image import fit_image
from retroscope.preprocessing import Preprocessing
from retroscope.scanning.image_files import read_input
from retroscope.scanning.sources import list_images

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = (12, 16)


def tiny(channels: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.MaxPool2d(2)).eval()


def opened(channels: int = 3, **options: object) -> rs.Network:
    return rs.Network(tiny(channels), input_size=SIZE, name="tiny", **options)  # type: ignore[arg-type]


def pixels(height: int = SIZE[0], width: int = SIZE[1]) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def prepared(net: rs.Network, image: object) -> npt.NDArray[np.float32]:
    numbers: npt.NDArray[np.float32] = net.prepare(image).tensor.cpu().numpy()  # type: ignore[arg-type]
    return numbers


# What it is fed


def test_a_picture_of_the_right_size_is_scaled_centred_and_divided() -> None:
    net = opened(mean=MEAN, std=STD)
    expected = ((pixels() / 255 - MEAN) / STD).transpose(2, 0, 1)
    np.testing.assert_allclose(prepared(net, rs.Image(pixels())), expected, atol=1e-6)


def test_every_form_of_a_picture_is_fed_alike(tmp_path: Path) -> None:
    net, shown = opened(mean=MEAN, std=STD), PIL.Image.fromarray(pixels(31, 45))
    path = tmp_path / "scene.png"
    shown.save(path)
    first, *others = [
        prepared(net, image)
        for image in (
            *(path, str(path), shown, np.asarray(shown)),
            *(rs.Image(np.asarray(shown)), rs.read_image(path)),
        )
    ]
    assert first.shape == (3, *SIZE)
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_the_source_is_the_path_as_it_was_given(tmp_path: Path) -> None:
    PIL.Image.fromarray(pixels()).save(tmp_path / "scene.png")
    assert opened().prepare(tmp_path / "scene.png").source == str(tmp_path / "scene.png")
    assert opened().prepare(rs.Image(pixels(), "slide 4")).source == "slide 4"


def test_a_tensor_is_taken_as_it_is() -> None:
    tensor = torch.randn(3, 20, 30, dtype=torch.float64, requires_grad=True)
    taken = opened(mean=MEAN, std=STD).prepare(tensor)
    assert taken.size == (20, 30)
    assert torch.equal(taken.tensor, tensor.detach().float())
    assert not taken.tensor.requires_grad


def test_a_tensor_stays_its_owners() -> None:
    tensor = torch.randn(3, *SIZE)
    kept = tensor.clone()
    net = rs.Network(nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 2, 3)), input_size=SIZE)
    rs.activations(net, "conv1", tensor)
    rs.deconv(net, "conv1:0", tensor)
    assert torch.equal(tensor, kept)


def test_a_prepared_picture_is_not_prepared_again() -> None:
    net = opened(mean=MEAN, std=STD)
    once = net.prepare(rs.Image(pixels()))
    assert net.prepare(once) is once


def test_a_network_is_fed_in_its_own_precision() -> None:
    net = rs.Network(tiny().double(), input_size=SIZE)
    assert net.prepare(rs.Image(pixels())).tensor.dtype == torch.float64
    assert net.prepare(torch.zeros(3, *SIZE)).tensor.dtype == torch.float64


def test_a_network_of_one_channel_is_fed_the_mean_of_the_colours() -> None:
    net = opened(channels=1, mean=(0.5,), std=(0.25,))
    grey = (pixels() / 255).mean(axis=2, keepdims=True).transpose(2, 0, 1)
    np.testing.assert_allclose(prepared(net, rs.Image(pixels())), (grey - 0.5) / 0.25, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_first_convolution_says_how_many_channels_are_taken(channels: int) -> None:
    net = opened(channels=channels)
    assert net.preprocessing.channels == channels
    assert net.prepare(torch.zeros(channels, *SIZE)).tensor.shape == (channels, *SIZE)


def test_a_network_without_a_convolution_takes_three_channels() -> None:
    assert rs.Network(nn.ReLU()).preprocessing.channels == 3


def test_a_mean_alone_is_a_std_of_one_and_the_other_way_round() -> None:
    assert opened(mean=MEAN).preprocessing.std == (1, 1, 1)
    assert opened(std=STD).preprocessing.mean == (0, 0, 0)


STATISTICS = st.tuples(
    st.lists(st.floats(-1, 1), min_size=3, max_size=3),
    st.lists(st.floats(0.05, 2), min_size=3, max_size=3),
)


@given(STATISTICS, st.integers(0, 1000))
def test_the_picture_of_what_a_network_takes_is_the_picture(
    statistics: tuple[list[float], list[float]], seed: int
) -> None:
    mean, std = map(tuple, statistics)
    feeding = Preprocessing(rs.Fit((5, 7)), mean, std)
    shown = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(feeding.to_rgb(feeding.to_input(shown)), shown)


@given(STATISTICS, st.integers(0, 1000))
def test_the_input_of_an_image_is_that_of_torchvisions_transforms(
    statistics: tuple[list[float], list[float]], seed: int
) -> None:
    mean, std = statistics
    preprocessing = Preprocessing(rs.Fit((5, 7)), tuple(mean), tuple(std))
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    expected = functional.normalize(functional.to_tensor(pixels), mean, std)
    values = preprocessing.to_input(pixels)
    assert values.flags.c_contiguous
    np.testing.assert_array_equal(values, expected.numpy())


@pytest.mark.parametrize(
    ("mode", "size", "suffix"),
    [
        *(("RGB", (90, 70), "jpg"), ("L", (40, 300), "jpg"), ("RGB", (700, 500), "jpg")),
        *(("RGBA", (50, 40), "png"), ("I;16", (33, 60), "png"), ("P", (40, 40), "gif")),
        ("RGB", (4000, 8), "png"),  # only a part of it is resized
    ],
)
def test_a_file_is_fitted_as_its_pixels_are(
    mode: str, size: tuple[int, int], suffix: str, tmp_path: Path
) -> None:
    fit = rs.Fit((32, 48), shorter=256 if size[1] == 8 else 40)
    net = rs.Network(nn.Conv2d(3, 2, 3), fit=fit)
    path = tmp_path / f"image.{suffix}"
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    image = PIL.Image.fromarray(values).convert("L" if mode == "I;16" else mode).convert(mode)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    image.save(path, exif=exif if suffix == "jpg" else PIL.Image.Exif())
    expected = fit_image(rs.read_image(path, at_least=fit.decoding_size), fit)
    (tmp_path / "folder").mkdir()
    path = path.rename(tmp_path / "folder" / path.name)
    scanned, _ = read_input(net, list_images(path.parent), 0)
    for prepared in (net.prepare(path), net.prepare(str(path)), scanned):
        np.testing.assert_array_equal(prepared.rgb, expected.pixels)
        assert prepared.source == str(path)
    with PIL.Image.open(path) as opened_file:
        as_array = net.prepare(np.array(opened_file.convert("RGB")))
        np.testing.assert_array_equal(net.prepare(opened_file.convert("RGB")).rgb, as_array.rgb)


def test_the_picture_of_a_tensor_is_what_a_screen_can_show() -> None:
    net = opened(mean=MEAN, std=STD)
    wild = torch.full((3, *SIZE), float("nan"))
    wild[:, 0], wild[:, 1] = 1e9, -torch.inf
    shown = net.prepare(wild).rgb
    assert (shown[0] == 255).all()
    assert (shown[1:] == 0).all()


def test_the_picture_of_one_channel_is_grey() -> None:
    shown = opened(channels=1).prepare(torch.rand(1, *SIZE)).rgb
    assert (shown == shown[..., :1]).all()


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.zeros(1, 3, *SIZE), r"\(1, 3, 12, 16\)"),
        (torch.zeros(4, *SIZE), r"\(3, height, width\); this one is torch.float32 of \(4, 12"),
        (torch.zeros(*SIZE, 3), r"\(12, 16, 3\)"),
        (torch.zeros(3, *SIZE, dtype=torch.int64), "torch.int64"),
        (torch.zeros(()), r"of \(\)"),
    ],
    ids=["batch", "four channels", "channels last", "integers", "number"],
)
def test_a_wrong_tensor_is_told_what_a_right_one_is(tensor: torch.Tensor, said: str) -> None:
    with pytest.raises(ImageError, match="tiny takes a float tensor of") as refused:
        opened().prepare(tensor)
    refused.match(said)


def test_a_picture_file_has_no_four_channels() -> None:
    with pytest.raises(ImageError, match="has 3 channels, and the network takes 4"):
        opened(channels=4).prepare(rs.Image(pixels()))


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ImageError, match="float torch tensor of its input; not list"):
        opened().prepare(pixels().tolist())


@pytest.mark.parametrize(
    ("mean", "std", "said"),
    [
        (MEAN, (1.0,), "mean has 3 values and std 1"),
        (MEAN, (1.0, 0.0, 1.0), "no std may be zero"),
        ((float("nan"), 0, 0), STD, "must be finite"),
    ],
)
def test_statistics_that_no_picture_survives_are_refused(
    mean: tuple[float, ...], std: tuple[float, ...], said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        opened(mean=mean, std=std)


# What it says of itself


def test_a_network_says_its_name_size_and_place() -> None:
    assert repr(opened()) == "<Network tiny: 12x16 on cpu>"


def test_a_network_without_a_name_is_called_after_its_class() -> None:
    assert rs.Network(tiny()).name == "Sequential"


def test_labels_are_kept_in_their_order() -> None:
    assert opened(labels=["tabby", "tench"]).labels == ("tabby", "tench")
    assert opened().labels == ()


def test_another_module_keeps_everything_else() -> None:
    net = opened(mean=MEAN, std=STD, labels=["tabby"])
    other = net.with_module(tiny(), rs.Fit((8, 8), mode="stretch"))
    assert other.module is not net.module
    assert (other.name, other.labels, other.input_size) == ("tiny", ("tabby",), (8, 8))
    assert (other.preprocessing.mean, other.preprocessing.std) == (MEAN, STD)


# Its layers


def test_layers_are_those_of_a_picture_of_the_usual_size() -> None:
    sizes = [(layer.name, layer.kind, layer.channels, layer.size) for layer in opened().layers]
    assert sizes == [
        ("0", "conv", 4, (10, 14)),
        ("1", "relu", 4, (10, 14)),
        ("2", "pool", 4, (5, 7)),
    ]


def test_a_layer_is_found_by_each_of_its_names_at_any_size() -> None:
    net = opened()
    assert net.layer("0") is net.layer("conv1") is net.layers[0]
    assert net.layer("conv1", (22, 33)).size == (20, 31)


def test_each_size_is_surveyed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []

    def counted(module: nn.Module, shape: tuple[int, ...]) -> Survey:
        asked.append(shape)
        return survey(module, shape)

    monkeypatch.setattr("retroscope.network_survey.survey", counted)
    net = opened()
    for _ in range(3):
        assert net.survey() is net.survey(SIZE)
        rs.activations(net, "relu1", torch.zeros(3, 20, 20))
        rs.deconv(net, "relu1:0", torch.zeros(3, 20, 20))
    assert asked == [(3, *SIZE), (3, 20, 20)]


def test_an_unknown_layer_is_told_the_nearest_and_where_all_are_listed() -> None:
    with pytest.raises(UnitError) as refused:
        opened().layer("conv2")
    assert str(refused.value).startswith("no layer 'conv2' in tiny; did you mean 'conv1'")
    assert str(refused.value).endswith('"retroscope layers tiny" lists them.')


def test_a_layer_like_no_other_is_told_where_all_are_listed() -> None:
    with pytest.raises(UnitError, match="no layer 'xyzzy' in tiny; \"retroscope layers tiny\""):
        opened().layer("xyzzy")


def test_a_size_that_cannot_be_run_is_said_with_the_reason() -> None:
    net = rs.Network(nn.Conv2d(3, 2, 9), input_size=(8, 8), name="wide")
    with pytest.raises(ModelError, match="wide cannot run an image of 3 channels and 8x8") as no:
        _ = net.layers
    assert "Kernel size" in str(no.value)
    assert isinstance(no.value.__cause__, RuntimeError)


def test_a_network_that_fails_without_words_is_said_to_fail_by_kind() -> None:
    class Unfinished(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise NotImplementedError

    with pytest.raises(ModelError, match=r"pixels: NotImplementedError$"):
        _ = rs.Network(Unfinished()).layers


def test_a_layer_of_the_list_is_found_like_its_name() -> None:
    net = opened()
    assert all(net.layer(layer) is layer for layer in net.layers)
    assert net.layer(net.layers[0], (22, 33)).size == (20, 31)


@pytest.mark.parametrize("wanted", [3, None, ("conv1", 3)])
def test_what_is_no_name_of_a_layer_is_told_what_is(wanted: Any) -> None:
    with pytest.raises(UnitError, match=r"'conv5_3', one of net\.layers, or a module .* not"):
        opened().layer(wanted)


def test_a_unit_where_a_layer_is_asked_for_is_told_its_layer() -> None:
    with pytest.raises(UnitError, match=r"^'conv1:3' is a unit; give the layer 'conv1'$"):
        opened().layer("conv1:3")


@pytest.mark.parametrize("given", [0.5, "grey", ["a"], [None]])
@pytest.mark.parametrize("what", ["mean", "std"])
def test_what_is_no_number_for_each_channel_is_shown_one(what: str, given: Any) -> None:
    with pytest.raises(ModelError, match=rf"^{what} is one number per channel, such as"):
        rs.Network(tiny(), **{what: given})


def test_means_of_another_number_than_the_network_takes_are_told_so() -> None:
    net = rs.Network(tiny(1), input_size=SIZE, mean=(0, 0, 0))
    with pytest.raises(
        ModelError, match=r"it runs images of 1 channel; give one value in mean and in std "
    ):
        _ = net.layers


# What looks through it

LOOKS: list[Callable[..., Any]] = [
    lambda net: rs.activations(net, "conv1", pixels()),
    lambda net: rs.cam(net, pixels()),
    lambda net: rs.deconv(net, "conv1:0", pixels()),
    lambda net: rs.explain(net, pixels()),
    rs.filters,
    lambda net: rs.occlusion(net, pixels()),
    lambda net: rs.saliency(net, pixels()),
]


@pytest.mark.parametrize("look", LOOKS)
def test_what_is_no_network_yet_is_told_how_it_becomes_one(look: Callable[..., Any]) -> None:
    with pytest.raises(ModelError, match=r"^'demo' is not a Network; .* rs\.open_model\('demo'\)$"):
        look("demo")
    with pytest.raises(ModelError, match=r"^the class ReLU is not a Network; create an instance"):
        look(nn.ReLU)
    with pytest.raises(ModelError, match=r"^int is not a Network"):
        look(3)


# What a network is made of


def test_a_data_parallel_wrapper_is_taken_off() -> None:
    module = tiny()
    net = rs.Network(nn.DataParallel(module), input_size=SIZE)
    assert net.module is module
    assert [layer.name for layer in net.layers] == ["0", "1", "2"]


def test_a_compiled_wrapper_is_taken_off() -> None:
    module = tiny()
    compiled = torch.compile(module, backend="eager")
    assert rs.Network(compiled).module is module  # type: ignore[arg-type]


def test_wrappers_around_wrappers_are_taken_off() -> None:
    module = tiny()
    compiled = torch.compile(nn.DataParallel(module), backend="eager")
    assert rs.Network(compiled).module is module  # type: ignore[arg-type]


def test_a_part_of_a_users_own_called_module_is_no_wrapper() -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = tiny()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.module(x))

    head = Head()
    assert rs.Network(head).module is head


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_scripted_and_traced_networks_are_refused_with_the_reason() -> None:
    jit: Any = torch.jit
    for hidden in (jit.script(tiny()), jit.trace(tiny(), torch.zeros(1, 3, *SIZE))):
        with pytest.raises(ModelError, match=r"hides its operations; pass the nn\.Module"):
            rs.Network(hidden)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("vgg16", r"not the text 'vgg16'; rs\.open_model\('vgg16'\) opens"),
        (nn.ReLU, r"not the class ReLU; create an instance: ReLU\(\.\.\.\)$"),
        (None, "not None$"),
    ],
)
def test_what_is_no_module_is_refused(given: nn.Module, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        rs.Network(given)
