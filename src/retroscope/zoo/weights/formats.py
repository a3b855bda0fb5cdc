"""The table of formats. A file's structure decides what it is; its name is not looked at."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from retroscope.errors import ModelError
from retroscope.zoo.weights import (
    caffemodel,
    keras_first,
    keras_named,
    keras_three,
    npy,
    npz,
    safetensors,
    torch_file,
)
from retroscope.zoo.weights.bounds import reading
from retroscope.zoo.weights.foreign import Foreign, State

HEAD = 4096


@dataclass(frozen=True)
class Format:
    """How a file is known, from its path and its first bytes, and how it is read."""

    called: str
    recognises: Callable[[Path, bytes], bool]
    read: Callable[[Path], Foreign | State]


FORMATS = (
    Format("Keras up to 0.3 (.h5)", keras_first.recognises, keras_first.read),
    Format("Keras 1 and 2 (.h5)", keras_named.recognises, keras_named.read),
    Format("Keras 3 (.weights.h5)", keras_three.recognises, keras_three.read),
    Format("a dictionary (.npy)", npy.recognises, npy.read),
    Format("arrays (.npz)", npz.recognises, npz.read),
    Format("safetensors", safetensors.recognises, safetensors.read),
    Format("torch (.pt, .pth)", torch_file.recognises, torch_file.read),
    Format("Caffe (.caffemodel)", caffemodel.recognises, caffemodel.read),
)

NOT_WEIGHTS = {
    b"<": "a web page; the download gave it instead of the weights",
    b"version https://git-lfs": "a pointer of git-lfs; `git lfs pull` gets the file itself",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x80": "a pickle, which could do anything when read; save a state dict, or a .npy",
    b"PK": "an archive that is cut off, or of something else",
    b"\x1f\x8b": "compressed; unpack it first",
}
"""What begins so is told by its name."""


def read_weights(path: Path) -> Foreign | State:
    """The weights in a file, in the one form of their kind."""
    with reading(path):
        with path.open("rb") as file:
            head = file.read(HEAD)
        for known in FORMATS:
            if known.recognises(path, head):
                return known.read(path)
    raise ModelError(_unknown(path, head))


def _unknown(path: Path, head: bytes) -> str:
    if not head:
        return f"{path} is empty; get it again"
    begins = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for start, what in NOT_WEIGHTS.items():
        if begins.startswith(start):
            return f"{path} holds no weights, but is {what}"
    known = ", ".join(known.called for known in FORMATS)
    return f"{path} is of no format known here; there are {known}"
