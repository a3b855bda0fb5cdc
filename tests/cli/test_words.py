"""The commands and the library say the same words, and the help explains them."""

import inspect
from collections.abc import Callable

import click
import pytest

import retroscope as rs
from retroscope.cli import main
from tests.cli.terminal import Retroscope

FACE = {
    "output": "where the picture goes",
    "as_json": "how the answer is written",
    "threads": "the process's, not the function's",
    "top": "which units are asked for",
    "tone": "of `draw`",
    "bare": "of `draw`",
    "colours": "of `draw`",
    "original": "of `draw`",
}
"""The options that belong to the command line and not to the function."""

FUNCTIONS: dict[str, Callable[..., object] | None] = {
    "layers": None,  # an attribute of the network
    "activations": rs.activations,
    "deconv": rs.deconv,
    "saliency": rs.saliency,
    "cam": rs.cam,
    "occlusion": rs.occlusion,
    "explain": rs.explain,
    "filters": rs.filters,
}
ATLAS_FUNCTIONS: dict[str, Callable[..., object]] = {
    "scan": rs.scan,
    "illustrate": rs.illustrate,
    "show": rs.Atlas.plate,
    "synthesize": rs.synthesize,
    "demo": rs.demo,
    "serve": rs.serve,
    "export": rs.export,
    "world": rs.write_world,
}
"""Commands whose options, for files and words, are close to the function's but not the same."""


def parameters(function: Callable[..., object] | None, *, named: bool) -> list[inspect.Parameter]:
    """The keyword-only parameters of a function, or its others."""
    every = inspect.signature(function).parameters.values() if function else ()
    return [one for one in every if (one.kind is one.KEYWORD_ONLY) is named]


def own_options(command: click.Command) -> dict[str, object]:
    """The options that stand for keyword-only parameters, and what they are when not given."""
    context = click.Context(command, resilient_parsing=True, **command.context_settings)
    command.parse_args(context, [])
    return {
        one.name: context.params[one.name]
        for one in command.params
        if isinstance(one, click.Option) and one.name is not None and one.name not in FACE
    }


def test_every_command_stands_for_a_function() -> None:
    assert main.commands.keys() == FUNCTIONS.keys() | ATLAS_FUNCTIONS.keys()


def test_scan_has_an_option_for_every_keyword_of_the_function() -> None:
    options = {one.name for one in main.commands["scan"].params if isinstance(one, click.Option)}
    keywords = {one.name for one in parameters(rs.scan, named=True)} - {"progress"}
    opening = {one.name for one in parameters(rs.open_model, named=True)}
    assert options == keywords | opening | {"no_illustrate", "threads"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_are_the_positional_parameters_in_order(name: str) -> None:
    arguments = [one for one in main.commands[name].params if isinstance(one, click.Argument)]
    singular = [str(one.name).removesuffix("s" if one.nargs == -1 else "") for one in arguments]
    taken = [one.name for one in parameters(FUNCTIONS[name], named=False)]
    assert singular == ["model", *taken[1:]]
    assert taken[:1] in ([], ["net"])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_options_are_the_keyword_only_parameters_with_their_defaults(name: str) -> None:
    taken = parameters(rs.open_model, named=True) + parameters(FUNCTIONS[name], named=True)
    own = own_options(main.commands[name])
    assert {key: None if default == () else default for key, default in own.items()} == {
        one.name: None if one.default == () else one.default for one in taken
    }


def test_the_options_of_the_face_are_all_in_use() -> None:
    used = {option.name for command in main.commands.values() for option in command.params}
    assert used >= FACE.keys()


def test_without_arguments_the_help_is_shown(retroscope: Retroscope) -> None:
    said = retroscope()
    assert (said.status, said.err) == (0, "")
    assert said == retroscope("--help") == retroscope("-h")
    assert all(f"\n  {name} " in said.out for name in main.commands)


@pytest.mark.parametrize("name", main.commands)
def test_every_option_of_a_command_is_explained(name: str) -> None:
    command = main.commands[name]
    assert command.help
    for one in command.params:
        assert isinstance(one, click.Argument) or (isinstance(one, click.Option) and one.help)
