"""What layers are called: module paths, running numbers, and the names that people know.

A layer that is a module's only operation is called by the module's path. An operation written in
a module's own code is called after it: `layer1.0.add`. A repeated one gets a running number,
`layer1.0.relu~2`. Names and aliases come from the order in which the network runs.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import torch

from retroscope.engine.tensor_map import TensorMap


@dataclass(frozen=True)
class NamedStep:
    """A layer's names, and the step that computes it."""

    step: int
    kind: str
    name: str
    aliases: tuple[str, ...] = ()


@dataclass
class _Entry:
    path: str
    steps: list[tuple[int, str]] = field(default_factory=list)
    inner: int = 0

    @property
    def alone(self) -> bool:
        """Whether it is one operation, which then is called by its path."""
        return len(self.steps) == 1 and self.inner == 0 and bool(self.path)


class LayerNamer:
    """Follows a forward pass into its modules and keeps what each operation is to be called."""

    def __init__(self) -> None:
        self._stack: list[_Entry] = [_Entry("")]
        self._all: list[_Entry] = [self._stack[0]]
        self._maker = TensorMap[int]()
        self._results: dict[int, list[str]] = defaultdict(list)

    def enter_module(self, path: str) -> None:
        """A module starts to run."""
        self._stack[-1].inner += 1
        entry = _Entry(path)
        self._stack.append(entry)
        self._all.append(entry)

    def leave_module(self, path: str, output: object) -> None:
        """A module has run; the layer that made its output is also known by its path."""
        self._stack.pop()
        if path and isinstance(output, torch.Tensor) and output in self._maker:
            self._results[self._maker[output]].append(path)

    def record_step(self, step: int, kind: str, outputs: list[torch.Tensor]) -> None:
        """An operation has run; an empty kind says that it is no layer."""
        for output in outputs[:1]:
            if kind:
                self._maker[output] = step
            else:
                self._maker.drop(output)
        if kind:
            self._stack[-1].steps.append((step, kind))

    def named_steps(self) -> tuple[NamedStep, ...]:
        """Every layer in running order, with its names."""
        named = sorted(self._name_steps(), key=lambda one: one.step)
        known = familiar_names([one.kind for one in named])
        counts: Counter[str] = Counter()
        layers = []
        paths = {path: step for step, named_steps in self._results.items() for path in named_steps}
        taken = {one.name for one in named}
        for one, familiar in zip(named, known, strict=True):
            counts[one.kind] += 1
            names = [f"{one.kind}{counts[one.kind]}", *familiar, *self._results[one.step]]
            own = [name for name in names if paths.get(name, one.step) == one.step]
            fresh = [name for name in dict.fromkeys(own) if name not in taken]
            taken.update(fresh)
            layers.append(NamedStep(one.step, one.kind, one.name, tuple(fresh)))
        return tuple(layers)

    def _name_steps(self) -> list[NamedStep]:
        calls: Counter[str] = Counter()
        paths = {entry.path for entry in self._all}
        layers = []
        for entry in sorted(self._all, key=lambda entry: not entry.alone):
            for step, kind in entry.steps:
                base = entry.path if entry.alone else ".".join(filter(None, (entry.path, kind)))
                if not entry.alone and base in paths:
                    calls[base] = max(calls[base], 1)
                calls[base] += 1
                name = base if calls[base] == 1 else f"{base}~{calls[base]}"
                layers.append(NamedStep(step, kind, name))
        return layers


def familiar_names(kinds: list[str]) -> list[tuple[str, ...]]:
    """The names of VGG- and AlexNet-shaped networks, for each layer of a network in order.

    >>> well_known(["conv", "relu", "pool"])
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


def _blocks(spine: list[str]) -> list[int]:
    """How many convolutions stand before each pool that follows one."""
    text = "".join(kind[0] for kind in spine)
    return [len(run) for run in text.split("p") if run and set(run) == {"c"}]


def _alexnet(kinds: list[str]) -> list[tuple[str, ...]]:
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


def _vgg(kinds: list[str]) -> list[tuple[str, ...]]:
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
