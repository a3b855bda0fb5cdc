"""How a worker opens the network of a plan."""

import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from retroscope.atlas.schema import Json
from retroscope.engine.isolation import EXCLUSIVE_USE
from retroscope.errors import describe_error
from retroscope.input_binding import hold_prepared
from retroscope.network import Network
from retroscope.scanning.lots.whole_files import PlanError, write_whole
from retroscope.zoo import open_model

PICKLE, HELD = "network.pkl", "held-inputs.pkl"


@dataclass(frozen=True)
class NetworkSource:
    """A name with the keywords of `open_model`; without a name, a pickle beside the plan.

    `is_held`: values of other inputs are in a file beside the plan, and held.
    """

    model: str = ""
    options: Mapping[str, Json] = field(default_factory=dict)
    is_held: bool = False

    @classmethod
    def named(cls, model: str, **options: Any) -> "NetworkSource":
        """A network by its name; a path is made absolute, since workers run anywhere."""
        path, colon, factory = model.rpartition(":")
        file, rest = (path, colon + factory) if path.endswith(".py") else (model, "")
        is_file = Path(file).exists() and Path(file).suffix != ""
        options = {name: _to_json(value) for name, value in options.items() if value is not None}
        return cls(f"{Path(file).absolute()}{rest}" if is_file else model, options)

    def open(self, folder: Path) -> Network:
        """The network, for the device that the plan names."""
        if self.model:
            options: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in self.options.items()
            }
            net = open_model(self.model, **options)
            return _hold_stored(net, folder / HELD) if self.is_held else net
        return _unpickle_network(folder / PICKLE, str(self.options.get("device", "cpu")))


def _to_json(value: Any) -> Json:
    return list(value) if isinstance(value, tuple) else value


def source_of(net: Network, opened: NetworkSource | None) -> NetworkSource:
    """How workers open a network: as it was opened, with the values that it holds, or a pickle."""
    if opened is None or not opened.model:
        return NetworkSource("", {"device": net.device.type})
    return replace(opened, is_held=net.inputs is not None and bool(net.inputs.held))


def write_network(net: Network, source: NetworkSource, folder: Path) -> None:
    """Writes what workers need to open a network, beside a plan: nothing, if its name is enough."""
    if not source.model:
        _pickle_network(net, folder / PICKLE)
    elif source.is_held:
        assert net.inputs is not None
        advice = "let the function of the network hold them"
        with _explain_pickling(f"the inputs that {net.name} holds", advice):
            _save({"held": dict(net.inputs.held), "remarks": net.remarks}, folder / HELD)


def _hold_stored(net: Network, path: Path) -> Network:
    """A network that was opened by its name, with the values of its other inputs in a file."""
    if net.inputs is None:
        raise PlanError(f"{net.name} takes an image alone, and had other inputs; plan again")
    return hold_prepared(net, **_load(path, "cpu"))


def _pickle_network(net: Network, path: Path) -> None:
    """Writes a network that has no name."""
    preprocessing = net.preprocessing
    facts = {
        "module": net.module,
        "fit": preprocessing.fit,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "preprocessing": preprocessing,
        "labels": net.labels,
        "name": net.name,
        "remarks": net.remarks,
    }
    with _explain_pickling(net.name, "put its code into a file and plan with file.py:factory"):
        _save(facts, path)


@contextmanager
def _explain_pickling(what: str, advice: str) -> Iterator[None]:
    try:
        yield
    except (pickle.PicklingError, AttributeError, TypeError, RuntimeError) as error:
        raise PlanError(
            f"{what} cannot be pickled for the workers ({describe_error(error)}); {advice}"
        ) from error


def _save(facts: dict[str, Any], path: Path) -> None:
    with write_whole(path) as file, EXCLUSIVE_USE:
        torch.save(facts, file)


def _unpickle_network(path: Path, device: str) -> Network:
    with _explain_unpickling(path):
        facts = _load(path, device)
        module, preprocessing = facts.pop("module"), facts.pop("preprocessing", None)
        net = Network(module, **facts)
    net.preprocessing = preprocessing or net.preprocessing
    return net


def _load(path: Path, device: str) -> dict[str, Any]:
    with _explain_unpickling(path):
        facts: dict[str, Any] = torch.load(path, map_location=device, weights_only=False)
        return facts


@contextmanager
def _explain_unpickling(path: Path) -> Iterator[None]:
    try:
        yield
    except PlanError:
        raise
    except OSError as error:
        raise PlanError(f"cannot read {str(path)!r} ({error.strerror}); plan again") from error
    except Exception as error:  # whatever a class of the user raises
        raise PlanError(
            f"cannot unpickle {str(path)!r} ({describe_error(error)}); its classes must be "
            "importable where it is opened"
        ) from error
