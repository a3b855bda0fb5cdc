"""Whether the images of a batch are independent of each other: found by running a batch.

No table can say it: `x * x.mean()` mixes the images of a batch, and so does code that takes a
number out of the tensors.
"""

from collections.abc import Sequence
from contextlib import suppress

import torch

from retroscope.engine.call_arguments import tensors_in
from retroscope.engine.intercept import run
from retroscope.engine.interpreter import Call, CannotFollow, ProgramInterpreter
from retroscope.engine.isolation import device_of, dtype_of, preserve_state
from retroscope.engine.memory import SIZE_ERRORS, is_out_of_memory
from retroscope.engine.motion import Shape
from retroscope.engine.program import Step, Survey
from retroscope.errors import ModelError

_SAMPLES = 64
_TOLERANCE = 1e-3
"""Relative to the largest value of a layer. A batch may be computed in another order."""


def mixes_images(
    module: torch.nn.Module,
    shape: Shape,
    survey: Survey,
    *,
    single: Sequence[torch.nn.Module] = (),
) -> bool:
    """Whether the maps of an image change when another image runs beside it.

    A network whose code does not take a batch of two counts as one that does. If other inputs are
    held, `single` are the modules for the first and for the second image alone.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, *shape, generator=generator, device="cpu")
    images[1] = 3 * images[1] + 1
    images = images.to(device_of(module), dtype_of(module))
    if survey.channels_last:
        images = images.to(memory_format=torch.channels_last)
    with preserve_state(module), torch.no_grad():
        alone = [
            _sample_layers(part, survey, image[None].clone())[0]
            for part, image in zip(single or (module, module), images, strict=True)
        ]
        try:
            together = _sample_layers(module, survey, images)
        except ModelError:
            return True
        except SIZE_ERRORS as error:
            if is_out_of_memory(error):
                raise
            return True
    return any(_differs(single, image) for single, image in zip(alone, together, strict=True))


Samples = dict[int, torch.Tensor]
"""Some values of each layer for one image, by the layer's step."""


def _sample_layers(module: torch.nn.Module, survey: Survey, images: torch.Tensor) -> list[Samples]:
    """The samples of each image of a batch, up to the step that is not the surveyed one.

    A detector runs the same steps on every image only until it has found boxes.
    """
    sampler = _Sampler(survey, len(images))
    with suppress(CannotFollow):
        run(module, images, sampler)
    return sampler.samples


class _Sampler(ProgramInterpreter):
    def __init__(self, survey: Survey, batch: int) -> None:
        super().__init__(survey)
        self.layers = {layer.index for layer in survey.layers}
        self.samples: list[Samples] = [{} for _ in range(batch)]

    def compute(self, step: Step, call: Call) -> object:
        result = call.run(self.execute)
        if self.count in self.layers and step.field is not None:
            output = next(tensors_in(result))
            output = output.dequantize() if output.is_quantized else output
            if len(output) != len(self.samples):
                raise CannotFollow
            for samples, maps in zip(self.samples, output, strict=True):
                values = maps.flatten()
                sample = values[:: max(len(values) // _SAMPLES, 1)].float().cpu()
                samples[self.count] = sample.clone()  # a view would keep the maps in memory
        return result


def _differs(alone: Samples, together: Samples) -> bool:
    return any(
        step not in together or _differ(values, together[step]) for step, values in alone.items()
    )


def _differ(alone: torch.Tensor, together: torch.Tensor) -> bool:
    if alone.shape != together.shape:
        return True
    limit = _TOLERANCE * alone.abs().max().nan_to_num(1.0)
    return not bool(torch.isclose(alone, together, atol=float(limit), rtol=0, equal_nan=True).all())
