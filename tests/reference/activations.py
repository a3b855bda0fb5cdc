"""Activations: the only place where gradient, deconvnet and guided backprop differ (but for LRN).

With signal R from above, input x and output y:

    gradient   R * dy/dx            for the ReLU: R where x > 0
    deconvnet  R where R > 0
    guided     R where R > 0 and y > 0
"""

import math

import numpy as np

from tests.reference.operations import Array, Rules, Step, plain


def _rectifier(value: Array, derivative: Array) -> Step:
    def back(signal: Array, rules: Rules) -> tuple[Array, ...]:
        if rules == "gradient":
            return (signal * derivative,)
        rectified = np.where(signal > 0, signal, 0.0)
        if rules == "deconvnet":
            return (rectified,)
        return (np.where(value > 0, rectified, 0.0),)

    return Step(value, back)


def relu(x: Array) -> Step:
    """The rectifier itself."""
    return _rectifier(np.where(x > 0, x, 0.0), np.where(x > 0, 1.0, 0.0))


def relu6(x: Array) -> Step:
    """A rectifier that saturates at 6."""
    return _rectifier(np.clip(x, 0.0, 6.0), np.where((x > 0) & (x < 6), 1.0, 0.0))


def leaky_relu(x: Array, slope: float = 0.01) -> Step:
    """A rectifier that lets a little of the negative through."""
    return _rectifier(np.where(x > 0, x, slope * x), np.where(x > 0, 1.0, slope))


def elu(x: Array, alpha: float = 1.0) -> Step:
    """An exponential instead of the negative half."""
    bent = alpha * np.exp(np.minimum(x, 0.0))
    return _rectifier(np.where(x > 0, x, bent - alpha), np.where(x > 0, 1.0, bent))


def silu(x: Array) -> Step:
    """x times its sigmoid."""
    gate = _logistic(x)
    return _rectifier(x * gate, gate * (1 + x * (1 - gate)))


def gelu(x: Array) -> Step:
    """x times the normal distribution's cumulative probability at x."""
    below = 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    density = np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    return _rectifier(x * below, below + x * density)


def hardswish(x: Array) -> Step:
    """x times a ramp that climbs from 0 at -3 to 1 at 3."""
    ramp = np.clip(x / 6 + 0.5, 0.0, 1.0)
    slope = np.where(np.abs(x) < 3, 1 / 6, 0.0)
    return _rectifier(x * ramp, ramp + x * slope)


def sigmoid(x: Array) -> Step:
    """A gate, not a rectifier: every rule takes its derivative."""
    value = _logistic(x)
    return plain(value, lambda signal: signal * value * (1 - value))


def _logistic(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-x))
    return result
