"""The table of weight file formats. The structure of a file decides its format, never its name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from retroscope.errors import ModelError
from retroscope.zoo.weights import (
    caffemodel,
    keras_hdf5,
    npy_dictionary,
    npz_archive,
    state_dict_files,
)
from retroscope.zoo.weights.file_limits import translate_read_errors
from retroscope.zoo.weights.imported_weights import ImportedWeights, StateDict

HEAD_BYTES = 4096


@dataclass(frozen=True)
class WeightFormat:
    """A file format: how it is recognised, from the path and the first bytes, and how it is read.

    Readers may raise anything on a damaged file: `read_weights` turns it into one line.
    """

    description: str
    recognise: Callable[[Path, bytes], bool]
    read: Callable[[Path], ImportedWeights | StateDict]


FORMATS = (
    WeightFormat("Keras up to 0.3 (.h5)", keras_hdf5.is_keras_0, keras_hdf5.read_keras_0),
    WeightFormat("Keras 1 and 2 (.h5)", keras_hdf5.is_keras_1, keras_hdf5.read_keras_1),
    WeightFormat("Keras 3 (.weights.h5)", keras_hdf5.is_keras_3, keras_hdf5.read_keras_3),
    WeightFormat("dictionary (.npy)", npy_dictionary.is_npy, npy_dictionary.read_npy),
    WeightFormat("arrays (.npz)", npz_archive.is_npz, npz_archive.read_npz),
    WeightFormat("safetensors", state_dict_files.is_safetensors, state_dict_files.read_safetensors),
    WeightFormat(
        "torch (.pt, .pth)", state_dict_files.is_torch_file, state_dict_files.read_torch_file
    ),
    WeightFormat("Caffe (.caffemodel)", caffemodel.is_caffemodel, caffemodel.read_caffemodel),
)
"""In the order in which they are tried; Caffe last, because its format has no magic number."""

NOT_WEIGHTS = {
    b"<": "a web page that was downloaded instead of the weights",
    b"version https://git-lfs": "a git-lfs pointer; run `git lfs pull` to get the file itself",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"\x80": "a pickle, which could run any code; save a state dict or a .npy file",
    b"PK": "a zip archive that is truncated or contains something else",
    b"\x1f\x8b": "compressed; decompress it first",
}
"""Other files that are often mistaken for weights, by their first bytes."""


def read_weights(path: Path) -> ImportedWeights | StateDict:
    """The weights of a file in any format of the table."""
    with translate_read_errors(path):
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        for weight_format in FORMATS:
            if weight_format.recognise(path, head):
                return weight_format.read(path)
    raise ModelError(_describe_unknown(path, head))


def _describe_unknown(path: Path, head: bytes) -> str:
    if not head:
        return f"{path} is empty; download it again"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for start, description in NOT_WEIGHTS.items():
        if text.startswith(start):
            return f"{path} contains no weights; it is {description}"
    supported = ", ".join(weight_format.description for weight_format in FORMATS)
    return f"{path} is not in a supported weight format; supported are {supported}"
