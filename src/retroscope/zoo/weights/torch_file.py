"""What `torch.save` wrote: a state dict, or a checkpoint with one inside. `.pt`, `.pth`, `.ckpt`.

Read by torch with `weights_only=True`, which runs nothing that the file asks for.
"""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from re import search
from zipfile import ZipFile, is_zipfile

import torch

from retroscope.errors import ModelError
from retroscope.zoo.weights.bounds import Allowance
from retroscope.zoo.weights.foreign import State

OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The pickled number that begins the files of torch before 1.6."""

HOMES = ("state_dict", "model_state_dict", "model", "net", "module", "weights", "ema")
"""Where training scripts keep the state dict in their checkpoints."""


def recognises(path: Path, head: bytes) -> bool:
    if head.startswith(OLD):
        return True
    if not head.startswith(b"PK") or not is_zipfile(path):
        return False
    with ZipFile(path) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())


def read(path: Path) -> State:
    """The state dict; of a checkpoint, the part that is one."""
    if is_zipfile(path):
        _check_sizes(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ModelError(_refused(path, str(error))) from error
    tensors, home = _state(found, path)
    said = f"{len(tensors)} tensors of torch's" + (f", under {home!r}" if home else "")
    return State(str(path), tensors, decided=(said,))


def _check_sizes(path: Path) -> None:
    allowance = Allowance(path)
    with ZipFile(path) as archive:
        for info in archive.infolist():
            allowance.take(info.file_size, info.filename)


def _refused(path: Path, said: str) -> str:
    asked = search(r"GLOBAL ([\w.]+)", said) or search(r"(?:import|call) ([\w.]+\.[\w.]+)", said)
    if asked:
        return (
            f"{path} asks for {asked[1]}, which no weights need; it is refused, because it could "
            "do anything. Save the state dict alone: torch.save(net.state_dict(), ...)"
        )
    first = next(iter(said.splitlines()), "")
    return f"{path} is not a state dict that can be read without running it: {first}"


def _state(found: object, path: Path) -> tuple[dict[str, torch.Tensor], str]:
    for home in ("", *HOMES):
        inner = found.get(home) if home and isinstance(found, Mapping) else found
        if isinstance(inner, Mapping) and inner and _is_state(inner):
            return dict(inner), home
    raise ModelError(
        f"{path} holds no state dict, but a {type(found).__name__}; save one: "
        "torch.save(net.state_dict(), ...)"
    )


def _is_state(inner: Mapping[object, object]) -> bool:
    return all(
        isinstance(name, str) and isinstance(one, torch.Tensor) for name, one in inner.items()
    )
