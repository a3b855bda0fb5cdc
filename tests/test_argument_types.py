"""Wrong types of arguments: one line that says what the function takes, for every parameter."""

from collections.abc import Callable, Iterator, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import retroscope as rs
from retroscope.argument_types import check_arguments
from retroscope.errors import RetroscopeError
from tests.conftest import built


def network() -> rs.Network:
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)]
    return rs.Network(built(lambda: nn.Sequential(*layers)), input_size=(16, 16))


IMAGE = torch.ones(3, 16, 16)

CALLS: dict[str, dict[str, object]] = {
    "audit": {"atlas": "net.atlas"},
    "activations": {"layer": "conv1", "image": IMAGE},
    "cam": {"image": IMAGE},
    "cam_many": {"requests": [(1, IMAGE)]},
    "deconv": {"unit": "conv1:0", "image": IMAGE},
    "deconv_many": {"requests": [("conv1:0", IMAGE)]},
    "compare": {"first": "a.atlas", "others": ["b.atlas"]},
    "demo": {"folder": "demo"},
    "draw": {"result": rs.cam(network(), IMAGE)},
    "excite": {"unit": "conv1:0"},
    "excite_class": {"target": 1},
    "excite_direction": {"layer": "conv1", "direction": (1, 0, 0, 0)},
    "excite_output": {"output": "output[0]"},
    "explain": {"image": IMAGE},
    "export": {"atlas": "net.atlas", "site": "site"},
    "filters": {},
    "illustrate": {"atlas": "net.atlas"},
    "merge": {"sources": ["a.atlas", "b.atlas"], "to": "c.atlas"},
    "make_plan": {"images": "images", "to": "net.plan"},
    "name_units": {"atlas": "net.atlas", "names": "names.csv"},
    "occlusion": {"image": IMAGE},
    "open_atlas": {"path": "net.atlas"},
    "open_model": {"name": "demo"},
    "read_image": {"path": "image.png"},
    "saliency": {"image": IMAGE},
    "scan": {"images": "images", "to": "net.atlas"},
    "scene": {"seed": 1},
    "score": {"atlas": "net.atlas"},
    "serve": {"atlas": "net.atlas"},
    "sweep": {"plan_folder": "net.plan"},
    "synthesize": {"unit": "conv1:0", "steps": 1},
    "synthesize_many": {"units": ["conv1:0"], "steps": 1},
    "synthesize_varied": {"unit": "conv1:0", "steps": 1, "count": 1},
    "write_world": {"folder": "world", "count": 1},
}
"""Valid arguments of the public functions, without the network."""

ANY_TYPE = {("as_json", "result"), ("draw", "result")}

WRONG = [object(), type, {"a": 1}, b"bytes", float("nan"), [object()], torch.zeros(2), lambda: 0]


def wrong_calls() -> Iterator[tuple[str, str]]:
    for name in rs.__all__:
        function = getattr(rs, name)
        if name[0].islower():
            for parameter in signature(function).parameters:
                if (name, parameter) not in ANY_TYPE:
                    yield name, parameter


def results_of(function: Callable[..., object], arguments: dict[str, Any]) -> object:
    bound = signature(function).bind_partial()
    bound.arguments |= arguments
    result = function(*bound.args, **bound.kwargs)
    return list(result) if isinstance(result, Iterator) else result


def is_allowed(parameter: str, value: object) -> bool:
    """Whether the value may be right: by its type, or by its length, as a data set's."""
    if callable(value):
        return parameter in ("progress", "on_ready", "before", "output")
    if isinstance(value, float):
        return parameter in ("timeout", "noise", "weight")
    if isinstance(value, torch.Tensor):
        return parameter in ("mean", "std", "direction")
    return parameter == "images" and isinstance(value, dict)


def _as_passed(parameter: str, value: object) -> object:
    return [value] if parameter == "others" else value


@pytest.mark.parametrize(("name", "parameter"), list(wrong_calls()))
def test_a_wrong_type_is_refused_in_one_line(
    name: str, parameter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    function = getattr(rs, name)
    for value in WRONG:
        if is_allowed(parameter, value):
            continue
        arguments = dict(CALLS[name])
        if "net" in signature(function).parameters and name != "serve":
            arguments["net"] = network()
        with pytest.raises(RetroscopeError) as caught:
            results_of(function, {**arguments, parameter: _as_passed(parameter, value)})
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rs.scene("x"), "seed of scene() is an integer, not 'x'"),  # type: ignore[arg-type]
        (lambda: rs.scene(True), "seed of scene() is an integer, not True"),
        (
            lambda: rs.occlusion(network(), IMAGE, size="x"),  # type: ignore[arg-type]
            "size of occlusion() is an integer, a list of integers or None, not 'x'",
        ),
        (
            lambda: rs.scan(network(), "images", to="a.atlas", layers=3),  # type: ignore[arg-type]
            "layers of scan() is a text, a list of texts or None, not 3",
        ),
        (
            lambda: rs.scan(network(), "images", to=None),  # type: ignore[arg-type]
            "to of scan() is a path, not None",
        ),
        (
            lambda: rs.read_image("a.png", at_least=(1, 2, 3)),  # type: ignore[arg-type]
            "at_least of read_image() is a pair of integers or None, not (1, 2, 3)",
        ),
        (
            lambda: list(rs.deconv_many(network(), ["conv1:0"])),  # type: ignore[list-item]
            "a request is a pair (unit, image), not 'conv1:0'",
        ),
        (
            lambda: rs.explain(network(), IMAGE, atlas=3),  # type: ignore[call-overload]
            "int is not an Atlas; open one with rs.open_atlas(PATH)",
        ),
    ],
)
def test_a_refusal_says_what_the_function_takes(call: Callable[[], object], message: str) -> None:
    with pytest.raises(RetroscopeError) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("values", "is_accepted"),
    [
        ({"count": np.int64(3)}, True),
        ({"count": np.float32(3)}, False),
        ({"share": np.float32(0.5)}, True),
        ({"share": 1}, True),
        ({"share": "1"}, False),
        ({"numbers": np.zeros(3)}, True),
        ({"numbers": [1, 2.5]}, True),
        ({"numbers": [1, "2"]}, False),
        ({"numbers": np.zeros((3, 3))}, False),
        ({"texts": np.zeros(3)}, False),
        ({"texts": {"a"}}, False),
        ({"flag": np.True_}, True),
        ({"flag": 1}, False),
    ],
    ids=str,
)
def test_numbers_of_numpy_count_as_those_of_python(
    values: dict[str, Any], is_accepted: bool
) -> None:
    @check_arguments
    def function(
        *,
        count: int = 1,
        share: float = 0.0,
        numbers: tuple[float, ...] = (),
        texts: Sequence[str] = (),
        flag: bool = False,
    ) -> tuple[object, ...]:
        return count, share, numbers, texts, flag

    if is_accepted:
        assert function(**values)
    else:
        with pytest.raises(RetroscopeError, match=f"{next(iter(values))} of function\\(\\) is "):
            function(**values)


def test_a_device_called_gpu_is_cuda() -> None:
    with pytest.raises(RetroscopeError, match="no device 'gpu'; did you mean 'cuda'"):
        rs.open_model("demo", device="gpu")
