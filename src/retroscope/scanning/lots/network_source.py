"""How a worker opens the network of a plan."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from retroscope.atlas.schema import Json
from retroscope.engine.isolation import EXCLUSIVE_USE
from retroscope.errors import describe_error
from retroscope.network import Network
from retroscope.scanning.lots.whole_files import PlanError, write_whole
from retroscope.zoo import open_model

PICKLE = "network.pkl"


@dataclass(frozen=True)
class NetworkSource:
    """A name with the keywords of `open_model`; without a name, a pickle beside the plan."""

    model: str = ""
    options: Mapping[str, Json] = field(default_factory=dict)

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
            return open_model(self.model, **options)
        return _unpickle_network(folder / PICKLE, str(self.options.get("device", "cpu")))


def _to_json(value: Any) -> Json:
    return list(value) if isinstance(value, tuple) else value


def pickle_network(net: Network, folder: Path) -> NetworkSource:
    """Writes a network beside a plan, for one that has no name."""
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
    with write_whole(folder / PICKLE) as file:
        try:
            with EXCLUSIVE_USE:
                torch.save(facts, file)
        except (pickle.PicklingError, AttributeError, TypeError, RuntimeError) as error:
            raise PlanError(
                f"{net.name} cannot be pickled for the workers ({describe_error(error)}); put its "
                "code into a file and plan with file.py:factory"
            ) from error
    return NetworkSource("", {"device": net.device.type})


def _unpickle_network(path: Path, device: str) -> Network:
    try:
        facts = torch.load(path, map_location=device, weights_only=False)
        module, preprocessing = facts.pop("module"), facts.pop("preprocessing", None)
        net = Network(module, **facts)
    except OSError as error:
        raise PlanError(f"cannot read {str(path)!r} ({error.strerror}); plan again") from error
    except Exception as error:  # whatever a class of the user raises
        raise PlanError(
            f"cannot unpickle {str(path)!r} ({describe_error(error)}); its classes must be "
            "importable where it is opened"
        ) from error
    net.preprocessing = preprocessing or net.preprocessing
    return net
