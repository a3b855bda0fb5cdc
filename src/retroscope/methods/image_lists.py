"""Several images where a function takes one: a list, a batch in one array, or a data set."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data import Dataset as TorchDataset

from retroscope.engine.batching import NetworkInput
from retroscope.errors import ImageError, RetroscopeError
from retroscope.geometry import IMAGE_RANK
from retroscope.network import AnyImage, Network

if TYPE_CHECKING:
    from typing_extensions import TypeIs

AnImage = TypeVar("AnImage", bound=AnyImage)
Result = TypeVar("Result")

ImageList = (
    list[AnImage]
    | tuple[AnImage, ...]
    | Iterator[AnImage]
    | TorchDataset[object]
    | DataLoader[object]
)
"""Several images, of any kinds and sizes; of a data set, its images without their labels."""

AnyImageList = ImageList[Any]

OneOrMany = Any
"""A result for one image, a list of results for a batch.

The type of an array does not say how many dimensions it has. Give `net.prepare(x)` or `list(x)`
where a type checker should know which it is.
"""


@runtime_checkable
class Dataset(Protocol):
    """A map-style data set of torch: an image, or a tuple of an image and its label, by index."""

    def __getitem__(self, index: int, /) -> object: ...
    def __len__(self) -> int: ...


def is_image_list(image: object, rank: int = IMAGE_RANK) -> "TypeIs[AnyImageList]":
    """Whether these are several images: a list, an iterator, an array with a dimension for them, or
    a data set. `rank` is the number of axes of one.

    >>> is_image_list(["a.jpg"]), is_image_list("a.jpg"), is_image_list(torch.ones(1, 3, 8, 8))
    (True, False, True)
    """
    if isinstance(image, torch.Tensor | np.ndarray):
        return image.ndim == rank + 2
    if isinstance(image, str | bytes | Mapping) or hasattr(image, "pixels"):
        return False
    if hasattr(image, "read"):  # a file, whose lines are no images
        return False
    return isinstance(image, list | tuple | Iterator | TorchDataset | DataLoader | Dataset)


def prepare_list(net: Network, images: object) -> Iterator[NetworkInput]:
    """The network's input for each image, one at a time. An error names the image's position."""
    for position, image in enumerate(_iterate(images, net.sample_names, net.rank)):
        try:
            network_input = net.prepare(image)
        except RetroscopeError as error:
            error.args = (f"images[{position}]: {error}",)
            raise
        yield network_input


def map_images(
    net: Network, images: object, explain_image: Callable[[NetworkInput], Result]
) -> list[Result]:
    """The result of a function for each image; one image at a time is prepared."""
    return list(map(explain_image, prepare_list(net, images)))


def _iterate(
    images: object, names: Sequence[str] = (), rank: int = IMAGE_RANK
) -> Iterator[AnyImage]:
    """The images of whatever holds several of them; of samples, the entries with these names."""
    match images:
        case DataLoader():
            for batch in images:
                yield from _images_of_batch(batch, names, rank)
        case IterableDataset():
            yield from (image_of_sample(sample, names) for sample in images)
        case torch.Tensor() | np.ndarray() | list() | tuple() | Iterator():
            yield from images
        case Dataset():
            yield from (read_image_of(images, index, names) for index in range(len(images)))
        case _:
            raise ImageError(f"{type(images).__name__} has no length; give a list of its images")


def _images_of_batch(
    batch: object, names: Sequence[str] = (), rank: int = IMAGE_RANK
) -> Iterator[AnyImage]:
    """The images in what a DataLoader returns: a batch, a pair of one and its labels, or a sample.

    What `collate_fn` makes may also be a list of images, or of images and their targets.
    """
    entries = _named_entries(batch, names)
    if entries is not None:
        yield from _rows_of_entries(entries, rank)
    elif is_image_list(batch, rank) and not isinstance(batch, list | tuple):
        yield from _iterate(batch)
    elif isinstance(batch, list | tuple) and batch and is_image_list(batch[0], rank):
        yield from _iterate(batch[0])
    elif isinstance(batch, list | tuple) and all(_is_single_image(one, rank) for one in batch):
        yield from batch
    elif isinstance(batch, Mapping) and is_image_list(_image_entry(batch), rank):
        yield from _iterate(_image_entry(batch))
    else:
        yield image_of_sample(batch)


def _named_entries(sample: object, names: Sequence[str]) -> dict[str, Any] | None:
    """The entries with these names in a dictionary, or in one that labels follow."""
    entries = sample[0] if isinstance(sample, tuple | list) and sample else sample
    if not names or not isinstance(entries, Mapping) or any(name not in entries for name in names):
        return None
    return {name: entries[name] for name in names}


def _rows_of_entries(entries: dict[str, Any], rank: int) -> Iterator[AnyImage]:
    """Each image of a batch in one dictionary with what comes with it, or the one image."""
    if not is_image_list(next(iter(entries.values())), rank):
        yield entries
        return
    for row in zip(*entries.values(), strict=True):
        yield dict(zip(entries, row, strict=True))


def _is_single_image(value: object, rank: int) -> bool:
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.ndim == rank + 1
    return isinstance(value, PIL.Image.Image)


def read_image_of(dataset: Dataset, index: int, names: Sequence[str] = ()) -> AnyImage:
    """The image at an index of a data set, without its label; the entries with these `names`.

    A file that cannot be read is an unreadable image; any other error is the data set's own.
    """
    try:
        sample = dataset[index]
    except OSError as error:
        raise ImageError(f"the data set cannot read image {index} ({error})") from error
    return image_of_sample(sample, names)


IMAGE_KEYS = ("image", "img", "pixel_values")
"""Where data sets whose samples are dictionaries hold the image."""


def image_of_sample(sample: object, names: Sequence[str] = ()) -> AnyImage:
    """The image in a sample of a data set: an image, a tuple that begins with one, or a dictionary.

    Of a dictionary with all of these `names`, the entries under them.

    >>> image_of_sample((PIL.Image.new("L", (4, 3)), 7)).size
    (4, 3)
    """
    entries = _named_entries(sample, names)
    if entries is not None:
        return entries
    image = sample[0] if isinstance(sample, tuple | list) and sample else sample
    if isinstance(sample, Mapping):
        image = _image_entry(sample)
    if isinstance(image, np.ndarray):
        return _to_pil(image)
    if isinstance(image, PIL.Image.Image | torch.Tensor):
        return image
    raise ImageError(
        f"the data set returns a {type(image).__name__}; it must return a PIL image, an array of "
        "pixels, or a tensor as the network takes it"
    )


def _image_entry(sample: Mapping[object, object]) -> object:
    return next((sample[key] for key in IMAGE_KEYS if key in sample), sample)


def _to_pil(pixels: npt.NDArray[np.generic]) -> PIL.Image.Image | npt.NDArray[Any]:
    """The pixels for Pillow, or as they are if it has no images of their type and channels."""
    try:
        return PIL.Image.fromarray(pixels)
    except (TypeError, ValueError) as error:
        if pixels.ndim in (2, 3) and pixels.dtype.kind in "buif":
            return pixels
        raise ImageError(
            f"the data set returns an array of {pixels.dtype} and shape {pixels.shape}; pixels "
            "are uint8 of (height, width) or (height, width, 3), or numbers in as many channels as "
            "the network takes"
        ) from error
