"""What several floors share; above all the check that the engine leaves no trace."""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch import nn
from torch.nn.modules import module as torch_modules
from torch.overrides import _get_current_function_mode_stack

from retroscope.engine.region import RegionOutput, run_region
from retroscope.methods.deconv import projector
from retroscope.network import Network

torch.set_num_threads(1)  # the networks are small, and the tests run side by side

ENGINE = Path(__file__).parent / "engine"

Facts = dict[str, object]
"""What was seen, by a name that says where; two of them are compared name by name."""

SLOWEST = (
    "scanning/runners/test_ray_cluster.py",
    "scanning/distributed",
    "web/test_browser.py",
    "test_benchmarks.py",
    "zoo",
    "cli",
    "web",
    "scanning",
    "engine",
)
"""Files and folders of tests that take long: workers begin with these, and end with short ones."""

settings.register_profile("no deadline", deadline=None)  # a busy machine is no failure
settings.load_profile("no deadline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files come first where several workers share the tests."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    path = item.nodeid.partition("::")[0]
    turns = [turn for turn, name in enumerate(SLOWEST) if path.startswith(f"tests/{name}")]
    return min(turns, default=len(SLOWEST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A worker is given whole files, whose fixtures are made once; tests of Ray go to one worker.

    `--dist loadgroup` would do it, but pytest-xdist 3.8 does not see its groups in pytest 9.2.
    """
    config.option.loadscopereorder = False
    scheduler = import_module("xdist.scheduler").LoadScopeScheduling(config, log)
    scheduler._split_scope = _group
    return scheduler


def _group(nodeid: str) -> str:
    """The file of a test, or the name of what it shares with other files."""
    path = nodeid.partition("::")[0]
    return "Ray" if "[ray" in nodeid or path.endswith("test_ray_cluster.py") else path


def facts_of(module: nn.Module) -> Facts:
    """Everything about a network that a call could leave changed."""
    facts: Facts = {}
    for path, part in module.named_modules():
        at = path or "the network"
        facts[f"{at}: module"] = id(part), type(part), frozenset(vars(part))
        facts[f"{at}: training"] = part.training
        for name, hooks in vars(part).items():
            if "hooks" in name and isinstance(hooks, dict):
                facts[f"{at}: {name}"] = list(hooks.items())
        for name, parameter in part._parameters.items():
            if parameter is not None:
                facts |= {f"{at}.{name}: {what}": fact for what, fact in _of(parameter).items()}
        for name, buffer in part._buffers.items():
            if buffer is not None:
                facts |= {f"{at}.{name}: {what}": fact for what, fact in _of(buffer).items()}
    return facts


def _of(tensor: torch.Tensor) -> Facts:
    return {
        "tensor": id(tensor),
        "numbers": _bits(tensor),
        "requires_grad": tensor.requires_grad,
        "gradient": None if tensor.grad is None else (id(tensor.grad), _bits(tensor.grad)),
        "hooks": list((tensor._backward_hooks or {}).items()),
    }


def _bits(tensor: torch.Tensor) -> str:
    """A digest of the numbers to the last bit, so that NaN is equal to itself."""
    flat = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
    return blake2b(flat.numpy().data).hexdigest()


def surroundings() -> Facts:
    """Everything outside of a network that a call could leave changed."""
    facts: Facts = {
        f"torch's {name}": list(hooks.items())
        for name, hooks in vars(torch_modules).items()
        if name.startswith("_global_") and isinstance(hooks, dict)
    }
    modes: list[object] = _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    return facts | {
        "torch's random state": _bits(torch.get_rng_state()),
        "numpy's random state": repr(np.random.get_state()),  # noqa: NPY002
        "python's random state": random.getstate(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "default dtype": torch.get_default_dtype(),
        "modes": [id(mode) for mode in modes],
        "saved tensors' hooks": torch._C._autograd._top_saved_tensors_default_hooks(True),
        "autocast": torch.is_autocast_enabled("cpu"),
    }


def check_unchanged(before: Facts, now: Facts) -> None:
    changed = [name for name in before.keys() | now.keys() if before.get(name) != now.get(name)]
    assert not changed, f"changed: {', '.join(sorted(changed))}"


@contextmanager
def no_trace(module: nn.Module) -> Iterator[None]:
    """Whatever is done inside, raised or not, this network and its surroundings stay the same."""
    network, around = facts_of(module), surroundings()
    try:
        yield
    finally:
        check_unchanged(network, facts_of(module))
        check_unchanged(around, surroundings())


@pytest.fixture(autouse=True)
def _engine_leaves_no_trace(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Every network that an engine test opens is at the end as it was when it was opened.

    `open_model` makes its network in two steps and changes the mode between them: the last counts.
    """
    if ENGINE not in request.path.parents:
        yield
        return
    opened: dict[int, tuple[nn.Module, Facts]] = {}
    opening = Network.__init__

    def open_and_remember(self: Network, module: nn.Module, **options: Any) -> None:
        opened[id(module)] = module, facts_of(module)
        opening(self, module, **options)

    monkeypatch.setattr(Network, "__init__", open_and_remember)
    around = surroundings()
    yield
    for module, before in opened.values():
        check_unchanged(before, facts_of(module))
    check_unchanged(around, surroundings())


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[RegionOutput | None]:
    """What every run on crops finds, from here on; None where the crops do not tell.

    Crops are run wherever they can be, also where whole pictures would be faster.
    """
    found: list[RegionOutput | None] = []

    def watched(*args: Any, **options: Any) -> RegionOutput | None:
        found.append(run_region(*args, **options))
        return found[-1]

    monkeypatch.setattr(projector, "run_region", watched)
    monkeypatch.setattr(projector, "worth_cropping", lambda *_args, **_options: True)
    return found


@contextmanager
def always_crops() -> Iterator[None]:
    """Inside, crops are run wherever they can be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projector, "worth_cropping", lambda *_args, **_options: True)
        yield


@contextmanager
def never_crops() -> Iterator[None]:
    """Inside, crops never tell, so that every unit is looked at in its whole picture."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projector, "run_region", lambda *_args, **_options: None)
        yield


def built(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A network with weights from a seed, in evaluation mode; nobody's random state moves."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval()


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers in float64, from a seed."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))
