"""A state dict as a network: torchvision's by their shapes, others as `arch` names them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from re import sub

import torch

from retroscope.errors import ModelError
from retroscope.network import Network
from retroscope.zoo import torchvision_models
from retroscope.zoo.caffe_models import of_one, unscaled
from retroscope.zoo.load_weights import fill_by_name
from retroscope.zoo.weights.fingerprint import identified
from retroscope.zoo.weights.foreign import Filters, Foreign, State, in_red_green_blue

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "backbone.")
"""What wrappers put before every name: parallel copies, compiled ones, training loops."""

HELPERS = ("aux1.", "aux2.", "AuxLogits.")
"""Classifiers that only help to train; torchvision's own networks come without them."""

AS_TRAINED = {
    "googlenet": "aux_logits=False&transform_input=True",
    "inception_v3": "aux_logits=False&transform_input=True",
}
"""How torchvision builds these two for its own weights, which came from another library."""

Tensors = dict[str, torch.Tensor]
Shapes = Mapping[str, tuple[int, ...]]


def open_state(state: State, arch: str | None, by_name: Callable[[str], Network]) -> Network:
    """The network of a state dict, with all that the named or known network brings along."""
    tensors = _plain(state.tensors)
    said: tuple[str, ...] = ()
    if arch is None:
        arch = _known(state.path, tensors)
        said = (f"its names and shapes are those of {arch}",)
    net = by_name(_as_trained(arch))
    tensors = _for(net.module, state.tensors, tensors)
    tensors, mean, found = _identified(state.path, tensors)
    fill_by_name(net.module, tensors, path=state.path)
    own = net.preprocessing
    return Network(
        net.module,
        fit=own.fit,
        labels=net.labels,
        name=state.path,
        decided=(*state.decided, *said, *found),
        mean=of_one(mean) or own.mean,
        std=unscaled(mean) or own.std,
    )


def _plain(tensors: Tensors) -> Tensors:
    """The same under the names that the network itself uses."""
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            return _plain({name.removeprefix(prefix): one for name, one in tensors.items()})
    return {_today(name): one for name, one in tensors.items()}


def _today(name: str) -> str:
    """DenseNet's parts had a point in their names, as torchvision's files of it still have."""
    return sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name)


def _for(module: torch.nn.Module, given: Tensors, plain: Tensors) -> Tensors:
    """The tensors under the names that fit the module better, without what helped to train it."""
    wanted = module.state_dict()
    best = max((given, plain), key=lambda names: len(names.keys() & wanted.keys()))
    return {
        name: one for name, one in best.items() if name in wanted or not name.startswith(HELPERS)
    }


def _as_trained(arch: str) -> str:
    more = AS_TRAINED.get(arch.partition("?")[0].removeprefix("torchvision/"), "")
    if not more or "transform_input" in arch:
        return arch
    return f"{arch}{'&' if '?' in arch else '?'}{more}"


def _known(path: str, tensors: Tensors) -> str:
    """The name of torchvision's network that has tensors of these names and shapes."""
    given = {name: tuple(one.shape) for name, one in tensors.items() if _counts(name)}
    likely_first = sorted(torchvision_models.names(), key=lambda name: name not in Path(path).stem)
    for name in likely_first:
        outputs = _outputs(torchvision_models.shapes(name), given)
        if outputs:
            more = "" if outputs == 1000 else f"?num_classes={outputs}"
            return f"torchvision/{name}{more}"
    first = next(iter(tensors), "none")
    raise ModelError(
        f"{path}: its {len(tensors)} tensors ({first!r} ...) are those of no network of "
        "torchvision's; say whose they are by arch (--arch timm/NAME or --arch file.py:factory)"
    )


def _outputs(theirs: Shapes, given: Shapes) -> int:
    """How many classes a network of these shapes has, or 0 where it is another network."""
    theirs = {name: shape for name, shape in theirs.items() if _counts(name)}
    if theirs.keys() != given.keys():
        return 0
    other = [name for name in theirs if theirs[name] != given[name]]
    same = all(theirs[name][1:] == given[name][1:] for name in other)
    outputs = {(theirs[name][0], given[name][0]) for name in other} if same else {(0, 0)}
    if len(outputs) > 1:
        return 0
    before, after = next(iter(outputs), (1000, 1000))
    return after if before == 1000 else 0


def _counts(name: str) -> bool:
    """Whether a tensor tells the network: old files lack some, others have helpers besides."""
    return not name.startswith(HELPERS) and not name.endswith("num_batches_tracked")


def _identified(path: str, tensors: Tensors) -> tuple[Tensors, tuple[float, ...], tuple[str, ...]]:
    """Oxford's own weights, which also go about under torchvision's names, for its colours."""
    layers = _oxford_like(tensors)
    if not layers:
        return tensors, (), ()
    asked = Foreign(path, layers)
    found = in_red_green_blue(identified(asked))
    if not found.mean:
        return tensors, (), ()
    known = {f"{name}.weight": torch.from_numpy(one.weight) for name, one in found.layers.items()}
    said = f"pictures are red, green, blue from 0 to 255, less {found.mean}"
    return {**tensors, **known}, found.mean, (*found.decided, said)


def _oxford_like(tensors: Tensors) -> dict[str, Filters]:
    """The convolutions of a network that begins as VGG networks do."""
    convs = {name: one for name, one in tensors.items() if one.dim() == 4}
    first = next(iter(convs.values()), torch.empty(0))
    biased = all(name.replace(".weight", ".bias") in tensors for name in convs)
    if first.shape[1:] != (3, 3, 3) or not biased:
        return {}
    return {
        name.removesuffix(".weight"): Filters(
            one.float().numpy(), tensors[name.replace(".weight", ".bias")].float().numpy()
        )
        for name, one in convs.items()
    }
