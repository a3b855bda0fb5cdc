"""What layers are called: module paths, running numbers, and the names that people know.

A module that runs a single operation gives it its path: `features.0`. An operation in a module's
own code is named after the module: `layer1.0.add`. A repeated one is numbered: `layer1.0.relu~2`.
Names and aliases follow the order in which the network runs.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from retroscope.engine.call_arguments import tensors_in
from retroscope.engine.tensor_map import TensorMap


@dataclass(frozen=True)
class NamedStep:
    """A layer's names, and the step that computes it."""

    step: int
    kind: str
    name: str
    aliases: tuple[str, ...] = ()


@dataclass
class _ModuleCall:
    """A module while it runs: its own operations, and the number of submodules called."""

    path: str
    steps: list[tuple[int, str]] = field(default_factory=list)
    submodules: int = 0
    runs_on_image: bool = False
    result: int | None = None

    @property
    def is_single_operation(self) -> bool:
        """Whether its only operation computes what it returns, and is called by its path."""
        is_single = len(self.steps) == 1 and self.submodules == 0 and bool(self.path)
        return is_single and self.result == self.steps[0][0]


class LayerNamer:
    """Follows a forward pass through the modules and names the operations."""

    def __init__(self) -> None:
        self._stack: list[_ModuleCall] = [_ModuleCall("")]
        self._calls: list[_ModuleCall] = [self._stack[0]]
        self._step_of = TensorMap[int]()
        self._maps_of = TensorMap[int]()
        self._module_paths: dict[int, list[str]] = defaultdict(list)

    def enter_module(self, path: str) -> None:
        """A module starts to run."""
        self._stack[-1].submodules += 1
        call = _ModuleCall(path)
        self._stack.append(call)
        self._calls.append(call)

    def leave_module(self, path: str, output: object) -> None:
        """A module has run; its path becomes an alias of the layer that computed its output."""
        call = self._stack.pop()
        first = next(tensors_in(output), None)
        if first is not None:
            call.result = self._maps_of.get(first)
        if path and isinstance(output, torch.Tensor) and output in self._step_of:
            self._module_paths[self._step_of[output]].append(path)

    def record_copy(self, source: torch.Tensor, copy: torch.Tensor) -> None:
        """A tensor has the values of another, in another layout or type."""
        step = self._maps_of.get(source)
        if step is not None:
            self._maps_of[copy] = step

    @property
    def module(self) -> str:
        """The path of the module that runs."""
        return self._stack[-1].path

    def record_step(
        self, step: int, kind: str, outputs: Sequence[torch.Tensor], *, of_image: bool
    ) -> None:
        """An operation has run; an empty kind says that it is not a layer."""
        self._stack[-1].runs_on_image |= of_image
        for output in outputs[:1]:
            if kind:
                self._step_of[output] = self._maps_of[output] = step
            else:
                self._step_of.drop(output)
                self._maps_of.drop(output)
        if kind:
            self._stack[-1].steps.append((step, kind))

    def module_paths(self) -> set[str]:
        """The paths of all modules that have run."""
        return {call.path for call in self._calls}

    def modules_without_layers(self) -> Iterator[str]:
        """The paths of innermost modules that work on the image and in which no layer is."""
        listed = {call.path for call in self._calls if call.steps}
        for call in self._calls:
            if call.runs_on_image and not call.submodules and call.path not in listed:
                listed.add(call.path)
                yield call.path

    def named_steps(self) -> tuple[NamedStep, ...]:
        """Every layer in running order, with its names."""
        steps = sorted(self._name_steps(), key=lambda layer: layer.step)
        familiar = familiar_names([layer.kind for layer in steps])
        counts: Counter[str] = Counter()
        step_of_path = {path: step for step, paths in self._module_paths.items() for path in paths}
        used = {layer.name for layer in steps}
        layers = []
        for layer, names in zip(steps, familiar, strict=True):
            counts[layer.kind] += 1
            running = f"{layer.kind}{counts[layer.kind]}"
            candidates = dict.fromkeys((running, *names, *self._module_paths[layer.step]))
            aliases = [
                name
                for name in candidates
                if name not in used and step_of_path.get(name, layer.step) == layer.step
            ]
            used.update(aliases)
            layers.append(NamedStep(layer.step, layer.kind, layer.name, tuple(aliases)))
        return tuple(layers)

    def _name_steps(self) -> list[NamedStep]:
        counts: Counter[str] = Counter()
        paths = {call.path for call in self._calls}
        layers = []
        for call in sorted(self._calls, key=lambda call: not call.is_single_operation):
            for step, kind in call.steps:
                is_single = call.is_single_operation
                base = call.path if is_single else ".".join(filter(None, (call.path, kind)))
                if not is_single and base in paths:
                    counts[base] = max(counts[base], 1)
                counts[base] += 1
                name = base if counts[base] == 1 else f"{base}~{counts[base]}"
                layers.append(NamedStep(step, kind, name))
        return layers


def familiar_names(kinds: Sequence[str]) -> list[tuple[str, ...]]:
    """The names that people know, for each layer of a network shaped like VGG or AlexNet.

    >>> familiar_names(["conv", "relu", "pool"])
    [(), (), ()]
    """
    spine = [kind for kind in kinds if kind in ("conv", "pool", "linear")]
    plain = {"conv", "relu", "pool", "linear", "norm", "dropout", "softmax"}
    if not set(kinds) <= plain or spine[-3:] != ["linear"] * 3:
        return [()] * len(kinds)
    blocks = _blocks(spine)
    if blocks == [1, 1, 3]:
        return _alexnet(kinds)
    return _vgg(kinds) if len(blocks) == 5 else [()] * len(kinds)


def _blocks(spine: Sequence[str]) -> list[int]:
    """The number of convolutions before each pool that follows one."""
    text = "".join(kind[0] for kind in spine)
    return [len(run) for run in text.split("p") if run and set(run) == {"c"}]


def _alexnet(kinds: Sequence[str]) -> list[tuple[str, ...]]:
    convs = pools = dense = 0
    names: list[tuple[str, ...]] = []
    for kind in kinds:
        convs += kind == "conv"
        dense += kind == "linear"
        pools += kind == "pool"
        familiar = {
            "linear": f"fc{dense + 5}",
            "pool": {1: "pool1", 2: "pool2", 3: "pool5"}.get(pools, ""),
        }
        names.append(tuple(filter(None, [familiar.get(kind, "")])))
    return names


def _vgg(kinds: Sequence[str]) -> list[tuple[str, ...]]:
    block, inner, convs, dense = 1, 0, 0, 0
    names: list[tuple[str, ...]] = []
    for kind in kinds:
        familiar: list[str] = []
        if kind == "conv":
            inner, convs = inner + 1, convs + 1
            familiar = [f"conv{block}_{inner}", f"block{block}_conv{inner}"]
            familiar += [f"convolution2d_{convs}"]
        elif kind == "relu" and not dense:
            familiar = [f"relu{block}_{inner}"]
        elif kind == "pool" and inner:
            familiar = [f"pool{block}", f"block{block}_pool"]
            block, inner = block + 1, 0
        elif kind == "linear":
            dense += 1
            familiar = [f"fc{dense + 5}"]
        names.append(tuple(familiar))
    return names
