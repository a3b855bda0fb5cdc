"""Which layers read which: the data flow of a network, reduced to some of its layers.

```
conv1 ── relu ──┬── conv2 ── relu ── conv3 ── add ── relu ── conv4
                └─────────────────────────────┘

conv1:   the image        add:   conv1, conv3
conv2:   conv1            conv4: add
conv3:   conv2
```

The steps between two layers are left out, except those where the maps of several meet.
"""

from collections.abc import Iterable

from retroscope.engine.operations import name_of
from retroscope.engine.program import Step, Survey
from retroscope.results.layers import FROM_IMAGE, GraphStep, Layer


def layer_graph(survey: Survey, layers: Iterable[Layer]) -> tuple[GraphStep, ...]:
    """These layers and the steps where their maps meet, in running order.

    Nothing, if some of the network's calls cannot be seen: what they read is unknown.
    """
    if survey.has_hidden_calls:
        return ()
    kinds = {layer.index: layer.kind for layer in layers}
    graph: list[GraphStep] = []
    sources: list[tuple[int, ...]] = []
    for number, step in enumerate(survey.steps):
        inputs = _sources(step, sources)
        is_layer = number in kinds
        if is_layer or (len(inputs) > 1 and _has_maps(step)):
            graph.append(GraphStep(number, kinds.get(number, _operation(step)), inputs))
            sources.append((number,))
        else:
            sources.append(inputs)
    return tuple(graph)


def _sources(step: Step, sources: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The steps of the graph that a step reads, directly or through steps that are left out."""
    if step.field is None:
        return ()
    if not step.inputs:
        return (FROM_IMAGE,)
    return tuple(sorted({source for number in step.inputs for source in sources[number]}))


def _has_maps(step: Step) -> bool:
    return step.field is not None and step.field.positions is not None


def _operation(step: Step) -> str:
    return step.operation.kind if step.operation else name_of(step.function)
