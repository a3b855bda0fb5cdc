"""What each element with a label sees, in random programs of tokens, windows and attention.

The laws of operations look at dimensions. Here every element of every result is looked up by its
own label, before the survey sums up what all elements of a layer see.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from retroscope.engine.axis_fields import AxisField, spread
from retroscope.engine.call_arguments import tensors_in
from retroscope.engine.field_flow import TensorField
from retroscope.engine.intercept import run
from retroscope.engine.interpreter import Call, Interpreter
from retroscope.engine.operations import TABLE, name_of
from retroscope.engine.survey import _Surveyor
from retroscope.errors import ModelError
from retroscope.geometry import Interval
from retroscope.network import Network
from tests.conftest import numbers
from tests.laws.drafting import Draft, Program
from tests.laws.operation_calls import example_name, write_call
from tests.laws.test_operation_laws import changed_entries

Turn = Callable[[Draft], object]

SIZE = (12, 8)
SEEDS = st.integers(0, 2**31)

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


# Programs


def open_stem(draft: Draft) -> None:
    """Patches of 2x2 pixels, or a map of the size of the image."""
    image, filters = draft.values[0], draft.choice(2, 3)
    weight = draft.constant(4, 3, filters, filters)
    draft.call(F.conv2d, image, weight, None, 2 if filters == 2 else 1, filters // 3)


def list_tokens(draft: Draft) -> None:
    tokens = draft.call(torch.flatten, draft.tensor(4), 2)
    if draft.chance(0.7):
        draft.call(torch.transpose, tokens, 1, 2)


def cut_windows(draft: Draft) -> None:
    """Windows in the batch dimension; or in its place what is at one place of each window."""
    maps = draft.tensor(4)
    batch, channels, height, width = maps.shape
    rows, columns = (
        draft.pick([part for part in (1, 2, 3, 4) if length % part == 0])
        for length in (height, width)
    )
    cut = draft.call(
        torch.Tensor.view, maps, batch, channels, height // rows, rows, width // columns, columns
    )
    order = draft.choice((0, 2, 4, 3, 5, 1), (0, 3, 5, 2, 4, 1))
    cut = draft.call(torch.permute, cut, order)
    _, first, second, third, fourth, _ = cut.shape
    draft.call(torch.reshape, cut, (batch * first * second, third * fourth, channels))


def add_class_token(draft: Draft) -> None:
    tokens = draft.tensor(3)
    token = draft.constant(tokens.shape[0], 1, tokens.shape[2])
    draft.call(torch.cat, [token, tokens], 1)


def attend(draft: Draft) -> None:
    """Attention of tokens to others of the same shape, in one of the usual ways."""
    query = draft.tensor(3, 4)
    same = [value for value in draft.values if value.shape == query.shape]
    key, value = draft.pick(same), draft.pick(same)
    form = draft.choice("fused", "einsum", "of torch", "bmm", "written out")
    if form == "fused":
        named = {"query": query, "key": key, "value": value}
        draft.call(F.scaled_dot_product_attention, **dict(draft.shuffle(list(named.items()))))
    elif form == "einsum":
        axes = "b" if query.dim() == 3 else "bh"
        weights = soften(
            draft, draft.call(torch.einsum, f"{axes}qd,{axes}kd->{axes}qk", query, key)
        )
        draft.call(torch.einsum, f"{axes}qk,{axes}kd->{axes}qd", weights, value)
    elif form == "of torch" and query.dim() == 3:
        width = query.shape[-1]
        inner, outer = draft.constant(3 * width, width), draft.constant(width, width)
        draft.call(
            F.multi_head_attention_forward,
            *(query, key, value, width, 1, inner, None, None, None, False, 0.0, outer, None, False),
        )
    else:
        product = torch.bmm if form == "bmm" else torch.matmul
        turned = draft.call(torch.transpose, key, -1, -2)
        draft.call(product, soften(draft, draft.call(product, query, turned)), value)


def soften(draft: Draft, scores: Tensor) -> Tensor:
    """Weights that are not those of a single key, so that all keys count."""
    return draft.from_tensor(draft.call(torch.softmax, draft.call(torch.mul, scores, 0.01), -1))


NAMES = sorted({example_name(function) for function in TABLE} - {"cuda"})
FREQUENT = [
    *("reshape", "view", "permute", "transpose", "__getitem__", "cat", "flip", "roll", "pad"),
    *("index_select", "stack", "split", "unbind", "repeat", "unsqueeze", "squeeze", "unfold"),
    *("fold", "matmul", "add", "mul", "softmax", "linear", "layer_norm", "sort", "mean", "to"),
]


def call_named(name: str, draft: Draft) -> None:
    spellings = [function for function in TABLE if example_name(function) == name]
    write_call(draft, draft.pick(spellings))


def random_program(seed: int) -> Program:
    draft = Draft(SIZE, seed)
    assert draft.attempt(open_stem)
    draft.attempt(draft.choice(list_tokens, cut_windows))
    for _ in range(draft.whole(3, 12)):
        frequent, rare = (partial(call_named, draft.pick(names)) for names in (FREQUENT, NAMES))
        arranging = draft.choice(list_tokens, cut_windows, add_class_token)
        turns: list[Turn] = [attend, arranging, frequent, frequent, frequent, rare]
        draft.attempt(draft.pick(turns))
    return draft.program()


# The field of an element, and what changes it


class ResultRecorder(Interpreter):
    """Copies all results of each step, before later steps change them in place."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[list[Tensor]] = []

    def step(self, call: Call) -> object:
        result = call.run(self.execute)
        self.results.append([tensor.detach().clone() for tensor in tensors_in(result)])
        return result


@torch.no_grad()
def record_results(net: Network, image: Tensor) -> list[list[Tensor]]:
    recorder = ResultRecorder()
    run(net.module, image.clone(), recorder)
    return recorder.results


Fields = list[list[TensorField | None]]
"""Those of the results of each step; None for constants."""


@contextmanager
def recorded_fields() -> Iterator[Fields]:
    """The fields of the last survey, as they flow from step to step."""
    fields: Fields = []
    step = _Surveyor.step

    def record_step(self: _Surveyor, call: Call) -> object:
        if self.count == 0:
            fields.clear()
        result = step(self, call)
        fields.append([self.fields.get(tensor) for tensor in tensors_in(result)])
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Surveyor, "step", record_step)
        yield fields


def intervals_of(field: TensorField, entry: Sequence[int]) -> list[Interval]:
    """What the field states of one element."""
    if field.axes is not None:
        return along(field.fields, [entry[axis] for axis in field.axes])
    if field.labels is None:
        return along(field.fields, [0] * field.rank)
    number, grid = int(field.labels.numbers[tuple(entry)]), field.labels.grid
    if number >= 0:
        return along(field.fields, np.unravel_index(number, grid))
    return [spread(*pair).at(0) for pair in zip(field.fields, grid, strict=True)]


def along(fields: Sequence[AxisField], position: Sequence[np.intp | int]) -> list[Interval]:
    return [field.at(int(index)) for field, index in zip(fields, position, strict=True)]


def check_elements(net: Network, fields: Fields, seed: int) -> None:
    steps, image = net.survey().steps, numbers(1, 3, *SIZE, seed=seed)
    before, dice = record_results(net, image), np.random.default_rng(seed)
    for y, x in [(0, 0), (11, 7), *dice.integers(0, SIZE, (4, 2)).tolist()]:
        changed = image.clone()
        changed[:, :, y, x] += float(dice.choice([30, -30, 1]))
        after = record_results(net, changed)
        if len(after) != len(before):
            return  # the program depends on values
        for step, was, now, of_results in zip(steps, before, after, fields, strict=True):
            where = f"{name_of(step.function)}, pixel {y},{x}"
            for old, new, field in zip(was, now, of_results, strict=True):
                entries = changed_entries(old, new) if old.shape == new.shape else []
                assert field is not None or not entries, f"{where}: stated to be a constant"
                if field is None or field.global_context:
                    continue
                for entry in entries:
                    seen = intervals_of(field, entry)
                    is_inside = all(
                        start <= at < stop for (start, stop), at in zip(seen, (y, x), strict=True)
                    )
                    assert is_inside, f"{where} changes {entry}, which sees {seen}"


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_no_element_of_a_random_program_sees_more_than_its_field(seed: int) -> None:
    with recorded_fields() as fields:
        net = Network(random_program(seed).eval(), input_size=SIZE)
        try:
            net.survey()
        except ModelError:
            return
        check_elements(net, fields, seed)
