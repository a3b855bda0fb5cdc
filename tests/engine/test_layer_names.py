from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import BasicBlock

from retroscope.engine.layer_names import familiar_names
from retroscope.errors import UnitError
from retroscope.methods.activations import activations
from retroscope.network import Network
from retroscope.results.layers import Layer
from tests.conftest import built, numbers
from tests.engine.test_fields import blank


@pytest.fixture(autouse=True)
def _random_weights_of_a_test_move_no_other() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        yield


# The names that people know

BLOCKS = {11: (1, 1, 2, 2, 2), 13: (2,) * 5, 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
VGGS = [f"vgg{depth}{tail}" for depth in BLOCKS for tail in ("", "_bn")]


def known(name: str) -> Network:
    """A torchvision network, surveyed for small pictures."""
    return Network(blank(name), input_size=(65, 65), name=name)


def paths(net: nn.Module, kind: type[nn.Module], inside: str) -> Iterator[str]:
    """The paths of the modules of one type in a part of the network, in running order."""
    return (
        path
        for path, part in net.named_modules()
        if isinstance(part, kind) and path.startswith(inside)
    )


def vgg_names(net: nn.Module, blocks: tuple[int, ...]) -> dict[str, str]:
    """What people call the layers of a VGG, and the paths of its modules."""
    convs, relus, pools, denses = (
        paths(net, kind, inside)
        for kind, inside in (
            (nn.Conv2d, "features"),
            (nn.ReLU, "features"),
            (nn.MaxPool2d, "features"),
            (nn.Linear, "classifier"),
        )
    )
    named: dict[str, str] = {}
    running = 0
    for block, count in enumerate(blocks, 1):
        for inner in range(1, count + 1):
            running += 1
            conv, relu = next(convs), next(relus)
            names = ["conv{0}_{1}", "block{0}_conv{1}", "convolution2d_{2}", "conv{2}"]
            named |= {name.format(block, inner, running): conv for name in names}
            named |= {f"relu{block}_{inner}": relu, f"relu{running}": relu}
        pool = next(pools)
        named |= {f"pool{block}": pool, f"block{block}_pool": pool}
    return named | {f"fc{number}": dense for number, dense in enumerate(denses, 6)}


@pytest.mark.zoo
@pytest.mark.parametrize("name", VGGS)
def test_the_layers_of_vgg_have_the_names_that_people_know(name: str) -> None:
    net = known(name)
    expected = vgg_names(net.module, BLOCKS[int(name[3:5])])
    assert {alias: net.layer(alias).name for alias in expected} == expected
    assert net.layer("features").name == expected["pool5"]
    assert net.layer("classifier").name == expected["fc8"]


@pytest.fixture(scope="module")
def alexnet() -> Network:
    return known("alexnet")


def test_the_layers_of_alexnet_have_the_names_that_people_know(alexnet: Network) -> None:
    modules = [
        *paths(alexnet.module, nn.Conv2d, "features"),
        *paths(alexnet.module, nn.MaxPool2d, "features"),
        *paths(alexnet.module, nn.Linear, "classifier"),
    ]
    names = [*(f"conv{n}" for n in range(1, 6)), "pool1", "pool2", "pool5", "fc6", "fc7", "fc8"]
    assert [alexnet.layer(name).name for name in names] == modules


@pytest.mark.parametrize(
    "kinds",
    [
        "conv relu pool conv relu pool linear",
        "conv pool conv pool conv conv conv pool linear linear linear add",
        "conv pool " * 6 + "linear linear linear",
        "linear linear linear",
        "",
    ],
)
def test_networks_of_another_shape_have_no_such_names(kinds: str) -> None:
    assert set(familiar_names(kinds.split())) <= {()}


# What every network has


def check_names(net: Network) -> None:
    layers = net.layers
    every = list(chain.from_iterable((one.name, *one.aliases) for one in layers))
    assert max(Counter(every).values()) == 1
    assert all(before.index < after.index for before, after in pairwise(layers))
    modules = dict(net.module.named_modules())
    counts: Counter[str] = Counter()
    for one in layers:
        counts[one.kind] += 1
        number = f"{one.kind}{counts[one.kind]}"
        assert number in (one.name, *one.aliases) or number in modules
        assert all(net.layer(name) is one for name in (one.name, *one.aliases))


ZOO = ["alexnet", "vgg16", "resnet18", "googlenet", "densenet121", "squeezenet1_1"]
ZOO += ["mobilenet_v3_small", "shufflenet_v2_x0_5", "regnet_y_400mf", "convnext_tiny"]


@pytest.mark.zoo
@pytest.mark.parametrize("name", ZOO)
def test_every_name_and_alias_is_one_layers_own(name: str) -> None:
    net = known(name)
    check_names(net)
    parts = net.module.named_modules()
    simple = {path for path, part in parts if isinstance(part, SIMPLE) and "aux" not in path}
    assert simple <= {one.name for one in net.layers}


SIMPLE = (nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.MaxPool2d)


class Code(nn.Module):
    """A network of some modules and a test's own code."""

    def __init__(self, code: Callable[..., torch.Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.code = code
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.code(self, x)


def conv(outputs: int = 3) -> nn.Module:
    return nn.Conv2d(3, outputs, 3, padding=1)


def surveyed(code: Callable[..., torch.Tensor], **parts: nn.Module) -> dict[str, Layer]:
    net = Network(built(lambda: Code(code, **parts)), input_size=(8, 8))
    check_names(net)
    return {one.name: one for one in net.layers}


def test_a_module_is_called_by_its_path_and_by_its_number() -> None:
    layers = surveyed(lambda net, x: net.act(net.second(net.first(x))), **TWO, act=nn.ReLU())
    assert list(layers) == ["first", "second", "act"]
    assert [one.aliases for one in layers.values()] == [("conv1",), ("conv2",), ("relu1",)]


TWO = {"first": conv(), "second": conv()}


def test_numbers_count_in_running_order_and_not_in_the_order_of_construction() -> None:
    layers = surveyed(lambda net, x: net.first(net.second(x)), **TWO)
    assert layers["second"].aliases == ("conv1",)
    assert layers["first"].aliases == ("conv2",)


def test_a_module_that_is_called_again_gets_a_running_number() -> None:
    layers = surveyed(lambda net, x: net.act(net.only(net.act(net.only(x)))), only=conv(), act=RELU)
    assert list(layers) == ["only", "act", "only~2", "act~2"]
    assert layers["only~2"].aliases == ("conv2",)


RELU = nn.ReLU()


def test_a_module_with_two_paths_is_called_by_the_first() -> None:
    shared = conv()
    layers = surveyed(lambda net, x: net.one(net.other(x)), one=shared, other=shared)
    assert list(layers) == ["one", "one~2"]


def test_functional_operations_are_named_after_the_module_whose_code_calls_them() -> None:
    block = Code(lambda net, x: F.relu(net.inner(x) + x) + 1, inner=conv())
    layers = surveyed(lambda net, x: torch.cat([F.relu(x), net.block(x)], 1), block=block)
    expected = ["relu", "block.inner", "block.add", "block.relu", "block.add~2", "concat"]
    assert list(layers) == expected
    assert layers["block.add~2"].aliases == ("add2", "block")


def test_a_module_whose_code_is_one_operation_is_called_by_its_path() -> None:
    lone = Code(lambda _, x: F.relu(x))
    wrapped = Code(lambda net, x: F.relu(net.same(x)), same=nn.Identity())
    layers = surveyed(lambda net, x: net.wrapped(net.lone(x)), lone=lone, wrapped=wrapped)
    assert list(layers) == ["lone", "wrapped.relu"]
    assert "wrapped" in layers["wrapped.relu"].aliases


def test_containers_are_known_by_their_paths() -> None:
    block = BasicBlock(3, 3)
    stage = nn.Sequential(block, nn.Sequential(conv(), nn.ReLU(inplace=True)))
    layers = surveyed(lambda net, x: net.stage(x), stage=stage)
    assert "stage.0.relu~2" in layers
    assert layers["stage.0.relu~2"].aliases == ("relu2", "stage.0")
    assert layers["stage.1.1"].aliases == ("relu3", "stage.1", "stage")


def test_a_container_that_ends_in_no_layer_names_none() -> None:
    stage = nn.Sequential(conv(), nn.Flatten())
    layers = surveyed(lambda net, x: net.stage(x), stage=stage)
    assert layers["stage.0"].aliases == ("conv1",)


def test_an_alias_never_shadows_another_layers_name() -> None:
    layers = surveyed(lambda net, x: net.conv1(net.conv2(x)), conv1=conv(), conv2=conv())
    assert list(layers) == ["conv2", "conv1"]
    assert [one.aliases for one in layers.values()] == [(), ()]


def test_an_alias_never_shadows_a_containers_path() -> None:
    block = nn.Sequential(conv(), nn.ReLU())
    layers = surveyed(lambda net, x: net.conv1(x), conv1=block)
    assert layers["conv1.0"].aliases == ()
    assert layers["conv1.1"].aliases == ("relu1", "conv1")


@pytest.mark.parametrize(
    ("code", "names"),
    [
        (lambda net, x: F.relu(net.relu(x) - 2), ["relu", "add", "relu~2"]),
        (lambda net, x: net.relu(F.relu(x) - 2), ["relu~2", "add", "relu"]),
    ],
)
def test_a_path_is_its_modules_name_also_where_code_calls_the_same_operation(
    code: Callable[..., torch.Tensor], names: list[str]
) -> None:
    assert list(surveyed(code, relu=nn.ReLU())) == names


# A name that is not there


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("feature.10", "'features.10'"),
        ("conv-5", "'conv5'"),
        ("fc9", "'fc6'"),
        ("Features.3", "'features.3'"),
        ("pool_5", "'pool5'"),
    ],
)
def test_an_unknown_name_gets_an_error_that_names_the_nearest(
    alexnet: Network, asked: str, near: str
) -> None:
    with pytest.raises(UnitError, match=f"no layer '{asked}' in alexnet; did you mean ") as refused:
        alexnet.layer(asked)
    assert near in str(refused.value)
    assert str(refused.value).endswith('"retroscope layers alexnet" lists them.')


def test_a_name_like_none_gets_the_list(alexnet: Network) -> None:
    with pytest.raises(
        UnitError, match=r"no layer 'xyz' in alexnet; \"retroscope layers alexnet\""
    ):
        alexnet.layer("xyz")


def test_a_hook_that_changes_what_a_module_returns_is_part_of_the_module() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))
    module[0].register_forward_hook(lambda _module, _inputs, output: output + 1)
    net = Network(module, input_size=(8, 8))
    image = numbers(3, 8, 8)
    assert [layer.name for layer in net.layers] == ["0.conv", "0.add", "1"]
    assert net.layer("0").name == "0.add"
    returned = module[0](image[None].float()).detach()[0]
    assert torch.allclose(activations(net, "0", image).to_tensor(), returned, atol=1e-6)
    assert len(module[0]._forward_hooks) == 1


def test_a_hook_that_only_reads_leaves_the_names_as_they_are() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))
    module[0].register_forward_hook(lambda _module, _inputs, _output: None)
    assert [layer.name for layer in Network(module, input_size=(8, 8)).layers] == ["0", "1"]


class SharedActivation(nn.Module):
    """As the networks of ultralytics have it: one activation behind all convolutions."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 3, 1), act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.act(self.conv(x))
        return result


def test_a_shared_module_is_called_by_its_place_in_the_one_that_runs() -> None:
    act = nn.SiLU()
    blocks = nn.Sequential(SharedActivation(act), nn.Sequential(SharedActivation(act)), act)
    net = Network(built(lambda: blocks), input_size=(4, 4))
    names = [layer.name for layer in net.layers]
    assert names == ["0.conv", "0.act", "1.0.conv", "1.0.act", "2"]
    assert net.layer("1.0").name == "1.0.act"


def test_names_stay_right_behind_a_module_that_raises() -> None:
    class Raising(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise KeyError(x.shape)

    class Caught(SharedActivation):
        def __init__(self, act: nn.Module) -> None:
            super().__init__(act)
            self.raising = Raising()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with suppress(KeyError):
                self.raising(x)
            return super().forward(x)

    act = nn.SiLU()
    net = Network(built(lambda: nn.Sequential(Caught(act), Caught(act))), input_size=(4, 4))
    assert {"0.conv", "1.conv"} <= {layer.name for layer in net.layers}
