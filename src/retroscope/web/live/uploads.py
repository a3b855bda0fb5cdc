"""The image that a request brings, with the other inputs of a network that takes several.

Inputs are the fields of a form, under their names, as browsers and `curl -F` send them: files, and
numbers as text. The field of an image alone is `image`; it may also be the body of the request.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.message import Message
from email.parser import HeaderParser
from io import BytesIO
from typing import NamedTuple

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
_FORM = "multipart/form-data"
_MAX_FIELDS = 100
_IMAGE = "image"
"""The field of an image alone."""


class UploadedField(NamedTuple):
    """What a form has for an input, and the name of the file that it is from, if it has one."""

    content: bytes
    file_name: str = ""

    @property
    def source(self) -> str:
        """What results call it."""
        return self.file_name or "the image"

    @property
    def subject(self) -> str:
        """What errors about it begin with."""
        return repr(self.file_name) if self.file_name else self.source


Form = Mapping[str, UploadedField]


class UploadTimeoutError(ImageError):
    """An image that does not arrive in time."""


async def read_body(stream: AsyncIterator[bytes], net: Network, content_type: str = "") -> bytes:
    """The body of a request, up to `MAX_BYTES` an image, if it arrives within `_UPLOAD_SECONDS`."""
    body, images = bytearray(), 1 + len(_other_images(net))
    try:
        async with asyncio.timeout(_UPLOAD_SECONDS):
            async for chunk in stream:
                body += chunk
                if len(body) > images * MAX_BYTES:
                    raise _too_large(bytes(body), content_type, images)
    except TimeoutError as error:
        message = f"the upload takes more than {_UPLOAD_SECONDS:g} seconds"
        raise UploadTimeoutError(message) from error
    return bytes(body)


def _too_large(body: bytes, content_type: str, images: int) -> TooLargeError:
    """The error for an upload that is larger than so many images may be, and not complete."""
    subject = "the images are together"
    if images == 1:
        parts = _split_form(body, content_type)
        field = _read_field(parts[1])[1] if len(parts) > 1 else UploadedField(body)
        subject = f"{field.subject} is"
    return TooLargeError(f"{subject} larger than {images * MAX_BYTES // 2**20} MB")


def _other_images(net: Network) -> list[str]:
    inputs = {} if net.inputs is None else net.inputs.per_image
    return [name for name, kind in inputs.items() if isinstance(kind, ImageInput)]


def read_upload(net: Network, body: bytes, content_type: str = "") -> NetworkInput:
    """The same network input as from the files of the images, upright."""
    form = _read_form(body, content_type) if content_type.startswith(_FORM) else {}
    name = net.inputs.image if net.inputs else _IMAGE
    form = form or {name: UploadedField(body)}
    others = net.inputs.per_image if net.inputs else {}
    _refuse_other_fields(net, form, (name, *others))
    if not others:
        return _read_image(net, form[name])
    with name_input(name):
        image = _read_image(net, form[name])
    values = {other: _read_other(net, other, kind, form[other]) for other, kind in others.items()}
    return attach_others(net, image, values)


_LIMITS: ReadLimits = {"formats": _FORMATS, "max_pixels": MAX_PIXELS}


def _read_image(net: Network, field: UploadedField) -> NetworkInput:
    with _explain_damage(field, net):
        return net.prepare_file(BytesIO(field.content), field.source, **_LIMITS)


def _read_other(net: Network, name: str, kind: OtherInput, field: UploadedField) -> object:
    """Another image as the network takes it, or numbers."""
    if not isinstance(kind, ImageInput):
        return kind.parse(name, field.content.decode("utf-8", "replace"))
    with name_input(name), _explain_damage(field, preparing_network(net, kind)):
        return prepare_other_file(net, name, BytesIO(field.content), field.source, **_LIMITS)


@contextmanager
def _explain_damage(field: UploadedField, net: Network) -> Iterator[None]:
    """Names the formats of photographs if a file is none; of others, the error says more."""
    try:
        yield
    except TooLargeError:
        raise
    except ImageError as error:
        if holds_numbers(field.content) or not net.preprocessing.takes_photos:
            raise
        formats = ", ".join(_FORMATS)
        raise ImageError(f"{field.subject} is not a valid {formats} or NPY file") from error


def _refuse_other_fields(net: Network, form: Form, names: Sequence[str]) -> None:
    """Raises unless a form has each of several inputs, and nothing else."""
    unknown = next((name for name in form if name not in names), None)
    if unknown is not None:
        hint = did_you_mean(unknown, names) or f"it takes {list_words(names)}"
        raise RetroscopeError(f"{unknown!r} is not an input of {net.name}; {hint}")
    missing = [name for name in names if name not in form or not form[name].content]
    if missing and len(names) > 1:
        described = [f"{name} ({describe_input(net, name)})" for name in missing]
        raise ImageError(f"{net.name} takes {list_words(names)}; add {list_words(described)}")


def _read_form(body: bytes, content_type: str) -> Form:
    """The fields of a form by name; a file without a name is a field that was left empty."""
    parts = _split_form(body, content_type)
    if len(parts) < 2 or len(parts) > _MAX_FIELDS or not parts[-1].startswith(b"--"):
        raise RetroscopeError("the form of the request is damaged; send it again")
    return dict(map(_read_field, parts[1:-1]))


def _split_form(body: bytes, content_type: str) -> list[bytes]:
    """The parts between the boundaries of a form; none of anything else."""
    boundary = _header("Content-Type", content_type).get_param("boundary")
    return body.split(f"--{boundary}".encode()) if isinstance(boundary, str) else []


def _read_field(part: bytes) -> tuple[str, UploadedField]:
    """The name of a field, and what it has."""
    head, _, content = part.partition(b"\r\n\r\n")
    fields = HeaderParser().parsestr(head.decode("utf-8", "replace").lstrip())
    name = fields.get_param("name", header="content-disposition")
    return str(name), UploadedField(content.removesuffix(b"\r\n"), fields.get_filename(""))


def _header(name: str, value: str) -> Message:
    return HeaderParser().parsestr(f"{name}: {value}\n\n")
