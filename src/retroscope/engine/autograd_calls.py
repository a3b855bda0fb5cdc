"""Calls of torch functions under autograd, with respect to the image alone."""

from typing import Any

import torch

from retroscope.engine.call_arguments import Args, Function, Kwargs, with_tensors
from retroscope.engine.operations import functions_named


def call_with_gradient(function: Function, args: Args, kwargs: Kwargs) -> object:
    """Runs a call so that autograd differentiates it with respect to the image alone."""
    result = function(*without_parameters(args), **without_parameters(kwargs))
    if function in _BATCH_NORMS:
        _keep_gradient_layout(result)
    return result


_BATCH_NORMS = set(functions_named("batch_norm"))


def _keep_gradient_layout(result: object) -> None:
    """Gives the gradient the memory layout of the result.

    torch 2.15 on the CPU computes a wrong gradient of a batch norm in evaluation mode if the
    gradient that arrives is laid out in another way than its input, as behind a transposition.
    """
    if not isinstance(result, torch.Tensor) or not result.requires_grad:
        return
    strides = result.stride()

    def in_layout(gradient: torch.Tensor) -> torch.Tensor:
        if gradient.stride() == strides:
            return gradient
        plain = torch.empty_strided(
            gradient.shape, strides, dtype=gradient.dtype, device=gradient.device
        )
        return plain.copy_(gradient)

    result.register_hook(in_layout)  # type: ignore[no-untyped-call]


def without_parameters(value: Any) -> Any:
    """The same arguments with parameters detached: their gradients are never needed."""
    return with_tensors(value, _detach_parameter)


def _detach_parameter(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach() if isinstance(tensor, torch.nn.Parameter) else tensor
