"""The commands and the library use the same words, and the help explains them."""

import inspect
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.core import ParameterSource

import retroscope as rs
from retroscope.atlas.schema import Ranking
from retroscope.cli import choices, main
from retroscope.cli.main import CONTEXT_SETTINGS
from retroscope.cli.options import OpenOptions
from retroscope.engine.rules import RULE_BOOKS
from retroscope.imaging.fit_sizes import RESIZED_SIZES
from retroscope.methods.cam.cam_methods import CAM_METHODS
from retroscope.methods.occlusion.occluders import FILLS
from retroscope.methods.saliency import SALIENCY_METHODS
from retroscope.render.colours import SCALES
from retroscope.render.projection_figures import VIEWS
from retroscope.render.tone import TONES
from retroscope.results.unit_numbers import GROUPS
from retroscope.scanning.illustrate import parse_ranks
from retroscope.scanning.precision import Precision
from retroscope.scanning.sources import CLASS_FOLDERS
from retroscope.zoo.registry import DEVICES
from tests.cli.terminal import Retroscope

FUNCTIONS: dict[str, Callable[..., object] | None] = {
    "layers": None,  # a property of the network
    "activations": rs.activations,
    "deconv": rs.deconv,
    "saliency": rs.saliency,
    "cam": rs.cam,
    "occlusion": rs.occlusion,
    "explain": rs.explain,
    "filters": rs.filters,
    "synthesize": rs.synthesize,
    "scan": rs.scan,
    "illustrate": rs.illustrate,
    "plan": rs.make_plan,
    "sweep": rs.sweep,
    "merge": rs.merge,
    "score": rs.score,
    "show": rs.Atlas.plate,
    "audit": rs.audit,
    "demo": rs.demo,
    "serve": rs.serve,
    "export": rs.export,
    "world": rs.write_world,
}
"""The function that each command calls."""

SYNONYMS = {"model": "net", "images": "image"}
"""A command opens a MODEL and the function takes the network; an image may be one of several."""

OPTIONS_ONLY: dict[str, dict[str, str]] = {
    "every command": {
        "output": "where the drawing goes",
        "as_json": "as_json(result)",
        "threads": "torch.set_num_threads",
        "tone": "a keyword of draw",
        "view": "a keyword of draw",
        "lit": "a keyword of draw",
        "bare": "a keyword of draw",
        "colours": "a keyword of draw",
        "original": "draw(heat, over=image)",
    },
    "deconv": {"top": "activations(net, layer, image).strongest(top)"},
    "synthesize": {
        "target": "excite_class(target) or excite_output(target) as the unit",
        "channels": "synthesize_many",
        "diversity": "synthesize_varied",
        "atlas": "atlas.stats(unit).maximum beside the pattern",
        "save_every": "a progress listener",
    },
    "illustrate": {
        "methods": "patterns are made by another function",
        "recipe": "of the patterns",
        "steps": "of the patterns",
    },
    "show": {
        "channels": "a list of plates",
        "context": "a drawing of whole images",
        "mosaics": "files in a folder",
        "model": "illustrate(atlas, net, units=...)",
        "images": "of illustrate",
        "glob": "of illustrate",
    },
    "score": {"names": "name_units(atlas, names)"},
    "demo": {"no_open": "the command serves the atlas, the function returns it"},
    "serve": {"no_open": "browser=False"},
}
"""Options that are not a parameter of the function, and what does the same in Python."""

INPUT = "--input, which opens the network"

PARAMETERS_ONLY: dict[str, dict[str, str]] = {
    "every command": {"progress": "the command shows a bar"},
    "scan": {"inputs": INPUT},
    "illustrate": {"units": "show --model projects the units it shows", "inputs": INPUT},
    "plan": {
        "inputs": INPUT,
        "opened": "MODEL and the options that open it",
        "threads": "--threads, which opens the network",
    },
    "score": {"before": "the command prints an estimate", "inputs": INPUT},
    "show": {"rules": "an atlas is shown with the projections of a deconvnet"},
    "serve": {
        "browser": "--no-open",
        "on_ready": "the command prints the address",
        "inputs": INPUT,
    },
}
"""Parameters that are not an option, and why."""

CLOSED_SETS: dict[str, tuple[Iterable[str], Iterable[str]]] = {
    "devices": (choices.DEVICES, DEVICES),
    "resizes": (choices.RESIZES, RESIZED_SIZES),
    "rules": (choices.RULE_BOOKS, RULE_BOOKS),
    "saliency methods": (choices.SALIENCY_METHODS, SALIENCY_METHODS),
    "class activation maps": (choices.CAM_METHODS, ("auto", *CAM_METHODS)),
    "fills": (choices.FILLS, FILLS),
    "recipes": (choices.RECIPES, rs.RECIPES),
    "precisions": (choices.PRECISIONS, tuple(Precision)),
    "class folders": (choices.CLASS_FOLDERS, CLASS_FOLDERS),
    "rankings": (choices.RANKINGS, tuple(Ranking)),
    "scores": (choices.SCORES, GROUPS),
    "tones": (choices.TONES, TONES),
    "views": (choices.VIEWS, VIEWS),
    "colours": (choices.COLOURS, SCALES),
}
"""The names that an option offers, and the table that the library looks them up in."""

PLACEHOLDERS = {"to": {"ATLAS", "PLAN"}}
"""The placeholders of options that have several: what a command makes."""

OPENING = {field.name for field in fields(OpenOptions)}


def exceptions(table: dict[str, dict[str, str]], command: str) -> set[str]:
    return set(table["every command"]) | set(table.get(command, ()))


def parameters(command: str, *, keyword_only: bool) -> list[inspect.Parameter]:
    """The keyword-only parameters of the command's function, or the others."""
    function = FUNCTIONS[command]
    every = inspect.signature(function).parameters.values() if function else ()
    return [entry for entry in every if (entry.kind is entry.KEYWORD_ONLY) is keyword_only]


def options(command: str) -> list[click.Option]:
    """The options of a command, without those that open its network."""
    return [
        entry
        for entry in main.commands[command].params
        if isinstance(entry, click.Option) and entry.name not in OPENING
    ]


def canonical(names: Iterable[str | None]) -> list[str]:
    return [SYNONYMS.get(str(name), str(name)) for name in names]


def test_every_command_stands_for_a_function() -> None:
    assert main.commands.keys() == FUNCTIONS.keys()


@pytest.mark.parametrize("command", FUNCTIONS)
def test_arguments_are_the_positional_parameters_in_order(command: str) -> None:
    arguments = [
        entry.name for entry in main.commands[command].params if isinstance(entry, click.Argument)
    ]
    names = [entry.name for entry in parameters(command, keyword_only=False)]
    subject = {"layers": ["net"], "show": ["atlas", *names[1:]]}  # methods of what comes first
    assert canonical(arguments) == canonical(subject.get(command, names))


@pytest.mark.parametrize("command", FUNCTIONS)
def test_options_are_the_keyword_only_parameters(command: str) -> None:
    offered = {str(entry.name) for entry in options(command)}
    accepted = {entry.name for entry in parameters(command, keyword_only=True)}
    offered -= exceptions(OPTIONS_ONLY, command)
    accepted -= exceptions(PARAMETERS_ONLY, command)
    assert set(canonical(offered)) == set(canonical(accepted))


@pytest.mark.parametrize("command", FUNCTIONS)
def test_options_have_the_defaults_of_the_parameters(command: str) -> None:
    click_command = main.commands[command]
    context = click.Context(click_command, resilient_parsing=True, **CONTEXT_SETTINGS)
    click_command.parse_args(context, [])
    only = exceptions(OPTIONS_ONLY, command)
    defaults = {entry.name: entry.default for entry in parameters(command, keyword_only=True)}
    for option in options(command):
        default = defaults.get(str(option.name), inspect.Parameter.empty)
        if option.name not in only and default is not inspect.Parameter.empty:
            assert (context.params[str(option.name)] or None) == (default or None), option.name


def test_the_options_that_open_a_network_are_the_keywords_of_open_model() -> None:
    keywords = inspect.signature(rs.open_model).parameters.values()
    names = {entry.name for entry in keywords if entry.kind is entry.KEYWORD_ONLY}
    assert names | {"threads", "inputs"} == OPENING  # of torch, and of Network.hold


def test_no_exception_is_out_of_date() -> None:
    for command, names in OPTIONS_ONLY.items():
        commands = list(FUNCTIONS) if command == "every command" else [command]
        offered = {entry.name for name in commands for entry in main.commands[name].params}
        assert offered >= names.keys()
    for command, names in PARAMETERS_ONLY.items():
        commands = list(FUNCTIONS) if command == "every command" else [command]
        every = {entry.name for name in commands for entry in parameters(name, keyword_only=True)}
        assert every >= names.keys()


@pytest.mark.parametrize("name", CLOSED_SETS)
def test_an_option_offers_the_names_that_the_library_knows(name: str) -> None:
    offered, known = CLOSED_SETS[name]
    assert sorted(offered) == sorted(known)


@pytest.mark.parametrize("name", choices.RANKS)
def test_the_words_for_ranks_are_known_to_the_library(name: str) -> None:
    assert parse_ranks(name)


def test_an_option_has_one_meaning_and_one_placeholder_in_every_command() -> None:
    placeholders: dict[str, set[str]] = {}
    for command in main.commands.values():
        for entry in command.params:
            if isinstance(entry, click.Option) and entry.metavar and not entry.is_flag:
                placeholders.setdefault(str(entry.name), set()).add(entry.metavar)
    several = {name: metavars for name, metavars in placeholders.items() if len(metavars) > 1}
    assert several == PLACEHOLDERS


def test_without_arguments_the_help_is_shown(retroscope: Retroscope) -> None:
    said = retroscope()
    assert (said.status, said.err) == (0, "")
    assert said == retroscope("--help") == retroscope("-h")
    assert all(f"\n  {name} " in said.out for name in main.commands)


def test_the_help_lists_each_command_in_one_section() -> None:
    listed = [str(command.name) for part in main.sections.values() for command in part]
    assert sorted(listed) == sorted(main.commands)
    lines = main.get_help(click.Context(main, info_name="retroscope")).splitlines()
    order = [lines.index(f"{title}:") for title in main.sections]
    assert order == sorted(order)
    for title, commands in main.sections.items():
        below = lines[lines.index(f"{title}:") + 1 :][: len(commands)]
        assert [line.split()[0] for line in below] == [command.name for command in commands]


EXAMPLES = {
    line.strip(): name
    for name, command in main.commands.items()
    for line in (command.epilog or "").splitlines()
    if line.startswith("  retroscope ")
}


def test_every_command_has_two_examples_in_its_help() -> None:
    assert Counter(EXAMPLES.values()) == dict.fromkeys(main.commands, 2)
    for line, name in EXAMPLES.items():
        context = click.Context(main.commands[name], info_name=name, terminal_width=80)
        assert f"    {line}\n" in f"{main.commands[name].get_help(context)}\n"


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_is_understood(line: str) -> None:
    program, name, *words = shlex.split(line)
    assert (program, name) == ("retroscope", EXAMPLES[line])
    context = main.commands[name].make_context(name, words)
    is_given = {
        str(entry.name)
        for entry in main.commands[name].params
        if context.get_parameter_source(str(entry.name)) is ParameterSource.COMMANDLINE
    }
    assert len(is_given) >= len([word for word in words if word.startswith("-")])


@pytest.mark.parametrize("name", main.commands)
def test_every_option_of_a_command_is_explained(name: str) -> None:
    command = main.commands[name]
    assert command.help
    for entry in command.params:
        if isinstance(entry, click.Option):
            assert entry.help
            assert entry.help[0].isupper()
            assert entry.help.endswith(".")


def test_only_the_command_line_names_options() -> None:
    """An error of the library names its parameter; the command line adds the option."""
    long_options = {
        text
        for command in main.commands.values()
        for entry in command.params
        for text in entry.opts
        if text.startswith("--")
    }
    folder = Path(rs.__file__).parent
    files = [path for path in folder.rglob("*.py") if path.parent.name != "cli"]
    named = {
        f"{path.relative_to(folder)}: {text}"
        for path in files
        for text in re.findall(r"--[a-z][a-z-]*", path.read_text("utf-8"))
        if text in long_options
    }
    assert not named


def test_an_error_that_names_a_parameter_is_printed_with_its_option(
    retroscope: Retroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise rs.RetroscopeError("the weights are random; give a seed", parameter="random_weights")

    monkeypatch.setattr("retroscope.zoo.open_model", refuse)
    said = retroscope("layers", "nets.py:tiny")
    expected = "retroscope: the weights are random; give a seed (--random-weights)\n"
    assert (said.status, said.err) == (2, expected)
