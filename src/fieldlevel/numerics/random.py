"""Counter-based random numbers: the value depends on (seed, stream, counter) alone.

A number belongs to a Fourier mode or to a particle, not to a position in a sequence. The same simulation therefore
comes out of any device, any number of workers and any order of work, and two resolutions share their common modes.

The generator is the SplitMix64 finaliser applied to the counter after the seed has been mixed in.

References:
    Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", OOPSLA.
"""

import math

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_MASK = (1 << 64) - 1


def _signed(value: int) -> int:
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def _shift_right(z: Tensor, bits: int) -> Tensor:
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shift_right(z, 30)) * _signed(_FIRST)
    z = (z ^ _shift_right(z, 27)) * _signed(_SECOND)
    return z ^ _shift_right(z, 31)


def uniform(counter: Tensor, seed: int, stream: int) -> Tensor:
    """Uniform random numbers in the open interval (0, 1), one for each counter.

    Args:
        counter: int64 tensor of any shape.
        seed: the simulation's seed.
        stream: what the numbers are for; different streams are independent.

    Returns:
        float64 tensor of the shape of `counter`.

    Example:
        >>> u = uniform(torch.arange(100_000), seed=5, stream=0)
        >>> abs(u.mean().item() - 0.5) < 0.005, abs(u.var().item() - 1 / 12) < 0.001
        (True, True)
    """
    key = _mix(_mix(torch.tensor(_signed(seed * _GOLDEN + 1))) ^ torch.tensor(_signed((stream + 1) * _FIRST)))
    bits = _mix(counter * _signed(_GOLDEN) + key.to(counter.device))
    return (_shift_right(bits, 11).to(torch.float64) + 0.5) * 2.0**-53


def complex_normal(counter: Tensor, seed: int, stream: int) -> Tensor:
    """Complex Gaussian numbers with <|w|^2> = 1 (Box-Muller), one for each counter; complex128."""
    radius = (-uniform(counter, seed, 2 * stream).log()).sqrt()
    phase = 2 * math.pi * uniform(counter, seed, 2 * stream + 1)
    return torch.polar(radius, phase)
