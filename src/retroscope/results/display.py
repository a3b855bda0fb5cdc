"""Results: their look at a prompt, their figures, and what they are to numpy and torch."""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypedDict, TypeVar, Unpack

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from retroscope.imaging.image import Image

if TYPE_CHECKING:
    import torch
    from _typeshed import DataclassInstance

    _Dataclass = DataclassInstance
else:
    _Dataclass = object


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_MAX_LISTED = 4


class DrawOptions(TypedDict, total=False):
    """The keywords of `draw`, `show` and `save`. None is the default of the type of result."""

    tone: str | None
    scale: int | None
    columns: int | None
    bare: bool | None
    view: str | None
    lit: bool | None
    histogram: bool | None
    colours: str | None
    opacity: float | None
    over: str | Path | PillowImage.Image | Image | None
    title: str | None
    line_below: str | None
    names: Sequence[str] | None


def with_draw_options(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function, with the keywords of `DrawOptions` in the signature that `help` shows.

    >>> @with_draw_options
    ... def shrink(result: object, **options: Unpack[DrawOptions]) -> None: ...
    >>> list(signature(shrink).parameters)[:3]
    ['result', 'tone', 'scale']
    """

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return function(*args, **kwargs)

    stated = signature(function)
    named = [part for part in stated.parameters.values() if part.kind is not Parameter.VAR_KEYWORD]
    keywords = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in DrawOptions.__annotations__.items()
    ]
    vars(call)["__signature__"] = stated.replace(parameters=[*named, *keywords])
    return call


class ArraySummary(_Dataclass):
    """A frozen dataclass whose `repr` gives arrays as type and shape, and long tuples as length.

    Fields that are empty or have their default are left out.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, repr=False)
    ... class Pair(ArraySummary):
    ...     left: object
    ...     right: object = None
    >>> Pair(np.zeros((2, 3))), Pair((), "text")
    (Pair(left=<float64 2x3>), Pair(right='text'))
    """

    def __repr__(self) -> str:
        values = ((field, getattr(self, field.name)) for field in fields(self))
        parts = (
            f"{field.name}={_summary(value)}"
            for field, value in values
            if not _is_default(value, field.default)
        )
        return f"{type(self).__name__}({', '.join(parts)})"


class DrawableResult(ArraySummary):
    """A result that can be drawn. Its figures are those of `draw`, with the same keywords."""

    @with_draw_options
    def show(self, **options: Unpack[DrawOptions]) -> None:
        """Display the figure: below the cell in a notebook, else in the system's image viewer.

        The keywords are those of `draw`.
        """
        _look_up("render.saving", "show_figure")(self, **options)

    @with_draw_options
    def save(self, path: str | Path, **options: Unpack[DrawOptions]) -> Path:
        """Write the figure to a file, in the format of its extension, and return the path.

        The keywords are those of `draw`.
        """
        written: Path = _look_up("render.saving", "save_figure")(self, path, **options)
        return written


def _look_up(module: str, name: str) -> Any:
    """A function of a room above, when it is called: results know nothing of what draws them."""
    return getattr(import_module(f"retroscope.{module}"), name)


class ArrayResult(DrawableResult):
    """A result that numpy and torch take for its main array: `np.asarray(result)`."""

    def _array(self) -> npt.NDArray[Any]:
        """The main array."""
        raise NotImplementedError

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[np.generic]:
        return np.array(self._array(), dtype, copy=copy)

    def to_tensor(self) -> "torch.Tensor":
        """A copy of the main array as a tensor, with the channels first if it has any."""
        import torch

        return torch.from_numpy(self._channels_first().copy())

    def _channels_first(self) -> npt.NDArray[Any]:
        return self._array()


def _is_default(value: object, default: object) -> bool:
    if isinstance(value, np.ndarray):
        return False
    return value is None or value == () or (default is not MISSING and value == default)


def _summary(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} {'x'.join(map(str, value.shape))}>"
    if isinstance(value, tuple) and (len(value) > _MAX_LISTED or any(map(is_dataclass, value))):
        return f"<{len(value)} {type(value[0]).__name__}>"
    has_short_form = is_dataclass(value) and type(value).__str__ is not object.__str__
    return str(value) if has_short_form else repr(value)
