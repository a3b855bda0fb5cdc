"""The layer of a transformer that a class activation map is made of by default.

```
        ┌───────────────────────────┐  ┌─────────────────┐
 ... ───┴─ norm1 ── attention ─────add ┴ norm2 ── mlp ──add ── norm ── class token ── head
```

A network that reads its class token does not read the positions behind the last attention: the
gradient is zero there. It is the input of that attention, after its norm. A network that takes the
mean of all positions reads the layer that is pooled (`docs/decisions/0030`).
"""

from retroscope.engine.motion import TokenAxis
from retroscope.engine.program import Survey
from retroscope.engine.rule_choice import ancestors
from retroscope.results.layers import Layer

_PARTS_OF_ATTENTION = {"linear", "split", "concat", "softmax", "matmul", "attention", "mul"}


def layer_for_heat(survey: Survey) -> Layer | None:
    """The last maps that the output depends on; None for a network without attention."""
    mixing = [number for number, step in enumerate(survey.steps) if step.mixing is not None]
    if not survey.has_attention or not mixing:
        return None
    before = ancestors(survey, mixing[-1]) - {mixing[-1]}
    layers = [layer for layer in survey.layers if layer.index in before]
    maps = [layer for layer in layers if _is_map_of_features(survey, layer)]
    return maps[-1] if maps else None


def _is_map_of_features(survey: Survey, layer: Layer) -> bool:
    """Whether it has positions, and is not a part of attention such as queries or weights."""
    step = survey.steps[layer.index]
    if step.field is None or step.field.positions is None or min(layer.size) == 1:
        return False
    has_heads = isinstance(step.field.positions, TokenAxis) and len(step.shapes[0]) > len("btc")
    return layer.kind not in _PARTS_OF_ATTENTION and not has_heads
