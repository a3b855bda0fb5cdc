"""ONNX files: opened, named and looked back through as torch computes the same network."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import retroscope as rs
from retroscope.errors import ModelError
from tests.conftest import built

if find_spec("onnx") is None or find_spec("onnx2pytorch") is None:
    pytest.skip("onnx is not installed", allow_module_level=True)

Node = tuple[str, list[str], str, dict[str, Any]]


class Known(nn.Module):
    """A small residual network, written in torch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8)
        self.each = nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False)
        self.head = nn.Linear(16, 5)

    def mixed(self, picture: torch.Tensor) -> torch.Tensor:
        maps = nn.functional.relu(self.norm(self.conv(picture)))
        return nn.functional.relu(self.each(maps) + maps)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        maps = self.mixed(picture)
        pooled = nn.functional.max_pool2d(maps, 3, 2, 1)
        both = torch.cat([pooled, nn.functional.avg_pool2d(maps, 2)], 1)
        result: torch.Tensor = self.head(both.mean((2, 3)))
        return result


NODES: list[Node] = [
    ("Conv", ["x", "conv.weight", "conv.bias"], "/stem/conv",
     {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("BatchNormalization", ["/stem/conv", "norm.weight", "norm.bias", "norm.running_mean",
                            "norm.running_var"], "norm", {}),
    ("Relu", ["norm"], "relu", {}),
    ("Conv", ["relu", "each.weight"], "each",
     {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "group": 4}),
    ("Add", ["each", "relu"], "sum", {}),
    ("Relu", ["sum"], "out", {}),
    ("MaxPool", ["out"], "most", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("AveragePool", ["out"], "mean", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("Concat", ["most", "mean"], "both", {"axis": 1}),
    ("GlobalAveragePool", ["both"], "whole", {}),
    ("Flatten", ["whole"], "flat", {}),
    ("Gemm", ["flat", "head.weight", "head.bias"], "class", {"transB": 1}),
]  # fmt: skip


@pytest.fixture
def known() -> Known:
    module = built(Known)
    assert isinstance(module, Known)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        module.norm.running_mean.normal_()  # type: ignore[union-attr]
        module.norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return module


def written(known: nn.Module, path: Path, opset: int, nodes: list[Node] = NODES) -> str:
    """The network as an ONNX file."""
    import onnx
    from onnx import helper

    made = [helper.make_node(kind, given, [name], name=name, **how)
            for kind, given, name, how in nodes]  # fmt: skip
    numbers = {name: one.numpy() for name, one in known.state_dict().items()}
    stored = [onnx.numpy_helper.from_array(one, name) for name, one in numbers.items()
              if not name.endswith("tracked")]  # fmt: skip
    picture = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 32, 40])
    answer = helper.make_tensor_value_info(nodes[-1][2], onnx.TensorProto.FLOAT, ["n", "k"])
    graph = helper.make_graph(made, "known", [picture], [answer], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return str(path)


@pytest.mark.parametrize("opset", [13, 18, 21])
def test_an_onnx_file_gives_what_its_network_gives(
    known: Known, tmp_path: Path, opset: int
) -> None:
    net = rs.open_model(written(known, tmp_path / "known.onnx", opset), device="cpu")
    assert net.input_size == (32, 40)
    assert "does not record how images are preprocessed" in net.inferred[0]
    images = torch.rand(3, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(net.module(images), known(images), rtol=0, atol=1e-5)


def test_layers_are_called_as_the_nodes_are(known: Known, tmp_path: Path) -> None:
    net = rs.open_model(written(known, tmp_path / "known.onnx", 18), device="cpu")
    names = {name for one in net.layers for name in (one.name, *one.aliases)}
    assert {"stem_conv", "norm", "relu", "each", "sum", "out", "most", "mean", "class"} <= names
    assert str(net.layer("each").field) == "7/2/-3"
    assert net.layer("concat").channels == 16  # a function of torch, and no module


def test_it_is_looked_back_through(known: Known, tmp_path: Path) -> None:
    net = rs.open_model(written(known, tmp_path / "known.onnx", 18), device="cpu")
    image = torch.rand(3, 32, 40, generator=torch.Generator().manual_seed(0))
    for place in ((0, 0), (7, 9), (15, 19)):
        leaf = image.clone().requires_grad_()
        fired = known.mixed(leaf[None])[(0, 2, *place)]
        (slope,) = torch.autograd.grad(fired, leaf)
        shown = rs.deconv(net, rs.Unit("out", 2, place), image, rules="gradient")
        expected = (slope * fired.detach()).permute(1, 2, 0).numpy()
        np.testing.assert_allclose(shown.full(), expected, rtol=0, atol=1e-6)


def test_weights_are_kept_once(known: Known, tmp_path: Path) -> None:
    net = rs.open_model(written(known, tmp_path / "known.onnx", 18), device="cpu")
    stored = sum(one.numel() for one in net.module.state_dict().values())
    assert stored == sum(one.numel() for one in known.state_dict().values())


# What goes wrong


def test_what_is_no_onnx_file_is_one_clear_line(known: Known, tmp_path: Path) -> None:
    path = Path(written(known, tmp_path / "known.onnx", 18))
    whole = path.read_bytes()
    for content in (whole[:-300], b"<html>not found</html>", b""):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"cannot open .*known\.onnx as an ONNX") as refused:
            rs.open_model(str(path))
        assert "\n" not in str(refused.value)


def test_an_unknown_operation_is_named(known: Known, tmp_path: Path) -> None:
    nodes: list[Node] = [*NODES[:3], ("Nonsense", ["relu"], "odd", {})]
    with pytest.raises(ModelError, match=r"cannot open .*Nonsense"):
        rs.open_model(written(known, tmp_path / "odd.onnx", 18, nodes))


def test_an_architecture_is_not_asked_for(known: Known, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="contains its network; leave out arch"):
        rs.open_model(written(known, tmp_path / "known.onnx", 18), arch="vgg16")


def test_without_the_packages_the_extra_is_named(
    known: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(known, tmp_path / "known.onnx", 18)
    monkeypatch.setitem(sys.modules, "onnx2pytorch", None)
    with pytest.raises(ModelError, match=r"pip install 'retroscope\[onnx\]'"):
        rs.open_model(path)
