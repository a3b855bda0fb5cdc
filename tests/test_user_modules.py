"""What people hand over where a network belongs: it runs rightly, or one line says what to do."""

import copy
import warnings
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.ao import quantization

import retroscope as rs
from retroscope.errors import ModelError, RetroscopeError
from tests.conftest import built

SIZE = (20, 24)
MAX_LINE = 300


jit: Any = torch.jit


class Classifier(nn.Module):
    def __init__(self, *, lazy: bool = False) -> None:
        super().__init__()
        self.first = nn.LazyConv2d(6, 3) if lazy else nn.Conv2d(3, 6, 3)
        self.last = nn.Conv2d(6, 8, 3)
        self.head = nn.LazyLinear(5) if lazy else nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Any:
        maps = torch.relu(self.last(torch.relu(self.first(images))))
        return self.head(maps.mean((2, 3)))


def classifier() -> Classifier:
    return built(Classifier)  # type: ignore[return-value]


class Wrapper(nn.Module):
    """Runs a classifier and returns its scores in another form."""

    def __init__(self, pack: Callable[[Tensor, Tensor], object]) -> None:
        super().__init__()
        self.inner = classifier()
        self.pack = pack

    def forward(self, images: Tensor) -> object:
        return self.pack(self.inner(images), images.mean((2, 3)))


class ModelOutput(OrderedDict[str, Any]):
    """As of Hugging Face: a dictionary whose entries are attributes too."""


def exported() -> Any:
    return torch.export.export(classifier(), (torch.zeros(1, 3, *SIZE),))


class Trainer:
    """Holds a module without being one, as trainers and pipelines do."""

    def __init__(self) -> None:
        self.model = classifier()


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "a class": (
        lambda: Classifier,
        r"the class Classifier; create an instance: Classifier\(\.\.\.\)",
    ),
    "a builder": (lambda: torchvision.models.resnet18, "the function resnet18; call it"),
    "a name": (lambda: "resnet18", r"rs\.open_model\('resnet18'\)"),
    "nothing": (lambda: None, "not None"),
    "a state dict": (lambda: classifier().state_dict(), r"a state dict; load it .*load_state_dict"),
    "a checkpoint": (
        lambda: {"epoch": 3, "state_dict": classifier().state_dict()},
        r"a checkpoint \(dict with a state dict\); load it",
    ),
    "a pair": (
        lambda: (classifier(), "labels"),
        "a tuple with a module in it; give the module alone",
    ),
    "a list": (lambda: [classifier()], "a list with a module in it; give the module alone"),
    "a trainer": (Trainer, "Trainer; give the module in it, its attribute model"),
    "an optimiser": (lambda: torch.optim.SGD(classifier().parameters(), 0.1), "not SGD"),
    "a tensor": (lambda: torch.zeros(100, 100), "not Tensor"),
    "an exported program": (exported, r"an ExportedProgram, .* give the nn\.Module"),
    "the module of an exported program": (lambda: exported().module(), "an exported graph hides"),
    "a scripted module": (lambda: jit.script(classifier()), "hides its operations"),
    "a traced module": (
        lambda: jit.trace(classifier(), torch.zeros(1, 3, *SIZE)),
        "hides its operations",
    ),
    "a lazy module": (
        lambda: Classifier(lazy=True),
        r"lazy layers have no weights yet \(first\.weight",
    ),
    "a module without weights": (
        lambda: classifier().to("meta"),
        "first.weight is on the meta device",
    ),
    "a list of modules": (lambda: nn.ModuleList([classifier()]), "it has no forward method"),
    "a dictionary of modules": (lambda: nn.ModuleDict({"a": classifier()}), "no forward method"),
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_looked_through_is_refused_in_one_short_line(case: str) -> None:
    make, said = REFUSED[case]
    value: Any = make()
    for use in (
        partial(rs.Network, value),
        partial(rs.cam, value, torch.zeros(3, *SIZE)),
    ):
        with pytest.raises(ModelError) as refused:
            use()
        text = str(refused.value)
        assert "\n" not in text
        assert len(text) < MAX_LINE
    with pytest.raises(ModelError, match=said):
        rs.Network(value, input_size=SIZE)


def test_a_lazy_module_is_looked_through_once_it_has_weights() -> None:
    module: Any = built(lambda: Classifier(lazy=True))
    module(torch.zeros(1, 3, *SIZE))
    image = torch.rand(3, *SIZE)
    maps = rs.activations(rs.Network(module, input_size=SIZE), module.first, image).maps
    torch.testing.assert_close(torch.tensor(maps), module.first(image[None])[0].detach())


SCORES: dict[str, Callable[[], nn.Module]] = {
    "a dictionary": lambda: Wrapper(lambda scores, _means: {"scores": scores}),
    "logits behind other tensors": lambda: Wrapper(
        lambda scores, means: {"means": means, "logits": scores}
    ),
    "an output of Hugging Face": lambda: Wrapper(
        lambda scores, means: ModelOutput(loss=None, hidden=means, logits=scores)
    ),
    "a tuple": lambda: Wrapper(lambda scores, _means: (scores, None)),
    "parallel": lambda: nn.DataParallel(classifier()),
    "compiled": lambda: torch.compile(classifier()),  # type: ignore[dict-item, return-value]
    "traced symbolically": lambda: torch.fx.symbolic_trace(classifier()),
    "in training mode": lambda: classifier().train(),
    "frozen": lambda: classifier().requires_grad_(requires_grad=False),
    "in float64": lambda: classifier().double(),
    "an average of weights": lambda: torch.optim.swa_utils.AveragedModel(classifier()),
}


@pytest.mark.parametrize("case", SCORES)
def test_forms_of_one_classifier_give_its_heat(case: str) -> None:
    image = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(1))
    expected = rs.cam(classifier(), image, layer="last", target=2)
    heat = rs.cam(rs.Network(SCORES[case](), input_size=SIZE), image, layer="conv2", target=2)
    assert expected.values.any()
    assert heat.probability == pytest.approx(expected.probability)
    torch.testing.assert_close(torch.tensor(heat.values), torch.tensor(expected.values))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_nearly_the_same(dtype: torch.dtype) -> None:
    image = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(1))
    expected = rs.cam(classifier(), image, layer="last", target=2)
    heat = rs.cam(classifier().to(dtype), image, layer="last", target=2)
    largest = expected.values.max()
    assert abs(heat.values - expected.values).max() < 0.1 * largest


def test_of_two_tensors_that_may_be_scores_none_is_guessed() -> None:
    net = rs.Network(Wrapper(lambda scores, means: (means, scores)), input_size=SIZE)
    for explain in (rs.cam, rs.saliency, partial(rs.occlusion, size=8)):
        with pytest.raises(
            ModelError, match=r"2 tensors that may be class scores, \(1, 3\) and \(1"
        ):
            explain(net, torch.rand(3, *SIZE))


def test_probabilities_beside_their_scores_are_one_answer() -> None:
    """As ultralytics' classifiers return them, in either order."""
    image = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(1))
    expected = rs.cam(rs.Network(Wrapper(lambda scores, _: scores), input_size=SIZE), image)
    for pair in (
        lambda scores, _: (scores.softmax(1), scores),
        lambda scores, _: (scores, scores.softmax(1)),
    ):
        found = rs.cam(rs.Network(Wrapper(pair), input_size=SIZE), image)
        np.testing.assert_array_equal(found.values, expected.values)
        assert (found.score, found.target) == (expected.score, expected.target)


def test_labels_say_which_of_two_tensors_are_the_scores() -> None:
    module = Wrapper(lambda scores, means: (means, scores))
    net = rs.Network(module, input_size=SIZE, labels=list("abcde"))
    assert str(rs.cam(net, torch.rand(3, *SIZE), target="e").target) == "e"


def test_int8_is_refused_where_gradients_are_needed_and_right_elsewhere() -> None:
    module = copy.deepcopy(classifier())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch moves its quantisation to another package
        quantize: Any = quantization.quantize_dynamic
        dynamic = quantize(module, {nn.Linear})
    net, image = rs.Network(dynamic, input_size=SIZE), torch.rand(3, *SIZE)
    for explain in (rs.cam, rs.saliency):
        with pytest.raises(ModelError, match=r"int8 .*open the floating-point network"):
            explain(net, image)
    maps = rs.activations(net, "last", image).maps
    torch.testing.assert_close(
        torch.tensor(maps), torch.tensor(rs.activations(module, "last", image).maps)
    )


def test_a_network_where_a_module_belongs_is_named() -> None:
    net: Any = rs.Network(classifier(), input_size=SIZE)
    with pytest.raises(RetroscopeError, match="not Network"):
        rs.Network(net)
