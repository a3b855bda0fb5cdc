"""The image that a request brings, with the other inputs of a network that takes several.

One image alone is the body of the request. Several inputs are the fields of a form, under their
names, as browsers and `curl -F` send them: files, and numbers as text.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from email.parser import HeaderParser
from io import BytesIO

from retroscope.engine.batching import NetworkInput
from retroscope.errors import ImageError, RetroscopeError, did_you_mean, list_words
from retroscope.imaging.decoding import TooLargeError
from retroscope.imaging.reading import holds_numbers
from retroscope.input_binding import (
    attach_others,
    name_input,
    prepare_other_file,
    preparing_network,
)
from retroscope.module_inputs import ImageInput, OtherInput
from retroscope.network import Network
from retroscope.preprocessing import ReadLimits
from retroscope.web.live.input_facts import describe_input

MAX_BYTES = 24 * 2**20
MAX_PIXELS = 50_000_000
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""What browsers, cameras and scientific instruments produce, beside NPY."""
_UPLOAD_SECONDS = 30.0
"""From the head of a request to the last byte of its image."""
_UPLOAD = "the image"
_FORM = "multipart/form-data"
_MAX_FIELDS = 100

Form = Mapping[str, bytes]


class UploadTimeoutError(ImageError):
    """An image that does not arrive in time."""


async def read_body(stream: AsyncIterator[bytes], net: Network) -> bytes:
    """The body of a request, up to `MAX_BYTES` an image, if it arrives within `_UPLOAD_SECONDS`."""
    body, images = bytearray(), 1 + len(_other_images(net))
    try:
        async with asyncio.timeout(_UPLOAD_SECONDS):
            async for chunk in stream:
                body += chunk
                if len(body) > images * MAX_BYTES:
                    subject = "the image is" if images == 1 else "the images are together"
                    raise TooLargeError(f"{subject} larger than {images * MAX_BYTES // 2**20} MB")
    except TimeoutError as error:
        message = f"the upload takes more than {_UPLOAD_SECONDS:g} seconds"
        raise UploadTimeoutError(message) from error
    return bytes(body)


def _other_images(net: Network) -> list[str]:
    inputs = {} if net.inputs is None else net.inputs.per_image
    return [name for name, kind in inputs.items() if isinstance(kind, ImageInput)]


def read_upload(net: Network, body: bytes, content_type: str = "") -> NetworkInput:
    """The same network input as from the files of the images, upright."""
    if not net.sample_names:
        return _read_image(net, body)
    assert net.inputs is not None
    form = _read_form(body, content_type) if content_type.startswith(_FORM) else {}
    form = form or {net.inputs.image: body}
    _refuse_other_fields(net, form)
    with name_input(net.inputs.image):
        image = _read_image(net, form[net.inputs.image])
    others = {
        name: _read_other(net, name, kind, form[name])
        for name, kind in net.inputs.per_image.items()
    }
    return attach_others(net, image, others)


_LIMITS: ReadLimits = {"formats": _FORMATS, "max_pixels": MAX_PIXELS}


def _read_image(net: Network, data: bytes) -> NetworkInput:
    with _explain_damage(data, net):
        return net.prepare_file(BytesIO(data), _UPLOAD, **_LIMITS)


def _read_other(net: Network, name: str, kind: OtherInput, data: bytes) -> object:
    """Another image as the network takes it, or numbers."""
    if not isinstance(kind, ImageInput):
        return kind.parse(name, data.decode("utf-8", "replace"))
    with name_input(name), _explain_damage(data, preparing_network(net, kind)):
        return prepare_other_file(net, name, BytesIO(data), _UPLOAD, **_LIMITS)


@contextmanager
def _explain_damage(data: bytes, net: Network) -> Iterator[None]:
    """Names the formats of photographs if data is none; of others, the error says more."""
    try:
        yield
    except TooLargeError:
        raise
    except ImageError as error:
        if holds_numbers(data) or not net.preprocessing.takes_photos:
            raise
        raise ImageError(f"not a valid {', '.join(_FORMATS)} or NPY file") from error


def _refuse_other_fields(net: Network, form: Form) -> None:
    """Raises unless a form has each input, and nothing else."""
    names = net.sample_names
    unknown = next((name for name in form if name not in names), None)
    if unknown is not None:
        hint = did_you_mean(unknown, names) or f"it takes {list_words(names)}"
        raise RetroscopeError(f"{unknown!r} is not an input of {net.name}; {hint}")
    missing = [name for name in names if not form.get(name)]
    if missing:
        described = [f"{name} ({describe_input(net, name)})" for name in missing]
        raise ImageError(f"{net.name} takes {list_words(names)}; add {list_words(described)}")


def _read_form(body: bytes, content_type: str) -> Form:
    """The fields of a form by name; a file without a name is a field that was left empty."""
    boundary = _header("Content-Type", content_type).get_param("boundary")
    parts = body.split(f"--{boundary}".encode()) if isinstance(boundary, str) else []
    if len(parts) < 2 or len(parts) > _MAX_FIELDS or not parts[-1].startswith(b"--"):
        raise RetroscopeError("the form of the request is damaged; send it again")
    form: dict[str, bytes] = {}
    for part in parts[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        fields = HeaderParser().parsestr(head.decode("utf-8", "replace").lstrip())
        name = fields.get_param("name", header="content-disposition")
        form[str(name)] = content.removesuffix(b"\r\n")
    return form


def _header(name: str, value: str) -> Message:
    return HeaderParser().parsestr(f"{name}: {value}\n\n")
