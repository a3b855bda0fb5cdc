"""Example calls of every function in the table of operations, on whatever a draft holds.

`EXAMPLES` has a writer for each name: it asks the draft for arguments, and `write_call` spells them
in one of the ways that Python allows. A new row of the table needs an example for each new name.
"""

from torch import Tensor

from retroscope.engine.call_arguments import Function
from retroscope.engine.operations import TABLE, name_of
from tests.laws.drafting import Draft
from tests.laws.elementwise_calls import ELEMENTWISE_CALLS
from tests.laws.operands import Example
from tests.laws.shape_calls import SHAPE_CALLS
from tests.laws.window_calls import WINDOW_CALLS

EXAMPLES: dict[str, Example] = ELEMENTWISE_CALLS | WINDOW_CALLS | SHAPE_CALLS


def example_name(function: Function) -> str:
    """The name that all spellings of a function share: `relu` for `F.relu` and `Tensor.relu_`."""
    name = name_of(function).removesuffix(".__get__").rpartition(".")[2]
    return name if name.endswith("__") else name.rstrip("_")


def write_call(draft: Draft, function: Function) -> object:
    """One call of this function in the draft, by position or by name."""
    arguments = EXAMPLES[example_name(function)](draft)
    names = list(arguments)
    if isinstance(arguments[names[0]], Tensor) and name_of(function).endswith("_"):
        arguments[names[0]] = draft.pass_value(arguments[names[0]])  # a constant stays as it is
    varying = arguments.pop("*", None)
    if varying is not None:
        return draft.call(function, *arguments.values(), *varying)
    positions = draft.whole(1, len(names))
    if positions == 1 and draft.chance(0.1):
        positions = 0
    args = [arguments[name] for name in names[:positions]]
    kwargs = {name: arguments[name] for name in names[positions:]}
    if "dim" in kwargs and draft.chance(0.1):
        kwargs["axis"] = kwargs.pop("dim")
    return draft.call(function, *args, **kwargs)


def write_any_call(draft: Draft) -> None:
    """A call of any function: each name is as likely as any other."""
    name = draft.pick(sorted({example_name(function) for function in TABLE}))
    spellings = [function for function in TABLE if example_name(function) == name]
    write_call(draft, draft.pick(spellings))
