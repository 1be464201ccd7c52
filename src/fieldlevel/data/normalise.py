r"""Normalisation of maps, or of a summary of each, with statistics of the maps that a network is trained on.

A map is normalised as \((\log_{10}(x + o) - m) / s\) with one scalar mean \(m\) and standard deviation \(s\) for all
maps; \(o = 1\) for stellar mass, which may vanish, and 0 for everything else. A network may read a summary of the map
instead, each number of which is normalised by itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldlevel.data.pixels import ZERO_FIELDS
from fieldlevel.data.suite import Suite
from fieldlevel.errors import DataError, UserError
from fieldlevel.numerics.summaries import SUMMARIES
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.spec_io import STRICT, from_json

_LARGEST_LOGARITHM = 100.0
"""Beyond those of all numbers in float32."""
LOG_OFFSETS = dict.fromkeys(ZERO_FIELDS, 1.0)
"""What is added before the logarithm, as the released scripts do; nothing to other fields."""


@dataclass(frozen=True)
class Normaliser:
    """Logarithm and scaling of the pixels.

    Attributes:
        mean: mean of log10(x + offset) over the pixels of the maps it was fitted on.
        std: standard deviation of the same.
        offset: added before the logarithm [unit of the map].
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    mean: float
    std: float
    offset: float = 0.0

    def normalise(self, maps: Tensor) -> Tensor:
        """Bring maps to zero mean and unit variance.

        Args:
            maps: surface densities, any shape.

        Returns:
            Normalised maps, float32, same shape and device.

        Example:
            >>> Normaliser(mean=11.0, std=0.5).normalise(torch.tensor([1e11, 1e12])).tolist()
            [0.0, 2.0]
        """
        return (torch.log10(maps.float() + self.offset) - self.mean) / self.std


@dataclass(frozen=True)
class SummaryNormaliser:
    """A summary of each map and the scaling of its numbers.

    Attributes:
        summary: its name in `SUMMARIES`.
        n_pixels: pixels a side of the maps it was fitted on.
        mean: of each number over the maps it was fitted on, (F,).
        std: standard deviation of the same, 1 where it vanishes, (F,).
        offset: added to the pixels first [unit of the map].
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    summary: str
    n_pixels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    offset: float = 0.0

    def normalise(self, maps: Tensor) -> Tensor:
        """Summarise maps and bring the numbers to zero mean and unit variance.

        Args:
            maps: surface densities, (n, N, N).

        Returns:
            (n, F) float32.
        """
        values = SUMMARIES[self.summary](maps.float() + self.offset)
        if values.shape[1] != len(self.mean):
            raise UserError(f"{self.summary} of {values.shape[1]} numbers, not {len(self.mean)}: give other maps")
        return (values - values.new_tensor(self.mean)) / values.new_tensor(self.std)


AnyNormaliser = Normaliser | SummaryNormaliser


def read_normaliser(inputs: str, text: str) -> AnyNormaliser:
    """From JSON, of a network with these `TrainSpec.inputs`.

    Raises:
        UserError: not the attributes of one.
    """
    if inputs == "maps":
        return from_json(Normaliser, text, "normaliser")
    return from_json(SummaryNormaliser, text, "normaliser")


def check_normaliser(normaliser: AnyNormaliser, inputs: str) -> None:
    """Refuse statistics that no maps have, and those of other inputs.

    Raises:
        UserError: with what is wrong.
    """
    mean, std = np.atleast_1d(normaliser.mean), np.atleast_1d(normaliser.std)
    are_sound = (np.abs(mean) <= _LARGEST_LOGARITHM).all() and ((std > 0) & (std <= _LARGEST_LOGARITHM)).all()
    if isinstance(normaliser, SummaryNormaliser) and (normaliser.summary != inputs or normaliser.n_pixels < 1):
        raise UserError(f"normaliser: of {normaliser.summary[:40]!r} of {normaliser.n_pixels} pixels, not of {inputs}")
    if len(mean) != len(std) or not are_sound:
        raise UserError("normaliser: mean and std must be those of logarithms, std above zero, as many of one as other")
    if not 0 <= normaliser.offset < np.inf:
        raise UserError(f"normaliser: offset {normaliser.offset}, must be finite and not negative")


Chosen = Sequence[tuple[Suite, npt.NDArray[np.integer] | None]]
"""Suites, each with the numbers of some of its simulations, or None for all."""


def fit_inputs(
    inputs: str, chosen: Chosen, listener: Listener = ignore, device: torch.device | str = "cpu"
) -> AnyNormaliser:
    """Fit the normaliser of what a network reads: one for the maps of all suites together, each map counting once.

    Args:
        inputs: `"maps"` or the name of a summary.
        chosen: suites of one field and the simulations to measure, the training sets as a rule.
        listener: told about simulations read.
        device: where to measure.

    Raises:
        DataError: all pixels are equal, or some have no logarithm.
    """
    if inputs == "maps":
        return _fit_logarithm(chosen, listener, device)
    return _fit_summary(inputs, chosen, listener, device)


def fit_normaliser(
    suite: Suite,
    simulations: npt.NDArray[np.integer] | None = None,
    listener: Listener = ignore,
    device: torch.device | str = "cpu",
) -> Normaliser:
    """Measure the mean and standard deviation of the logarithm of the pixels, in a stream and in float64.

    Blocks are merged by the pairwise update of Chan, Golub & LeVeque (1983), which does not cancel.

    Args:
        suite: the maps.
        simulations: numbers of the simulations to measure, the training set as a rule; None measures the whole suite,
            test maps included, as the released CMD scripts do.
        listener: told about simulations read.
        device: where to measure.

    Returns:
        The normaliser.

    Raises:
        DataError: all pixels are equal, or some have no logarithm.
    """
    return _fit_logarithm([(suite, simulations)], listener, device)


def _fit_logarithm(chosen: Chosen, listener: Listener, device: torch.device | str) -> Normaliser:
    first, _ = chosen[0]
    offset = LOG_OFFSETS.get(first.field, 0.0)
    mean, std = measure_logarithm(_simulations("measure", chosen, offset, listener, device), offset)
    if not std > 0:
        told = "the pixels of all maps chosen are equal; give maps with structure"
        raise DataError([f"{first.files.maps_path}: {told}"])
    return Normaliser(mean, std, offset)


def _fit_summary(summary: str, chosen: Chosen, listener: Listener, device: torch.device | str) -> SummaryNormaliser:
    """Mean and standard deviation of every number of a summary."""
    first, _ = chosen[0]
    offset = LOG_OFFSETS.get(first.field, 0.0)
    blocks = _simulations("summarise", chosen, offset, listener, device)
    values = torch.cat([SUMMARIES[summary](maps + offset).double() for maps in blocks])
    std = values.std(0, correction=0)
    std = std.where(std > 0, 1.0)
    mean: list[float] = values.mean(0).tolist()
    return SummaryNormaliser(summary, first.n_pixels, tuple(mean), tuple(std.tolist()), offset)


def _simulations(
    task: str, chosen: Chosen, offset: float, listener: Listener, device: torch.device | str
) -> Iterator[Tensor]:
    for suite, simulations in chosen:
        numbers = np.arange(suite.n_simulations) if simulations is None else simulations
        for done, simulation in enumerate(numbers, start=1):
            yield load_positive(suite, simulation, offset, device)
            listener(Progress(f"{task} {suite.suite}", done, len(numbers), "simulations"))


def measure_logarithm(blocks: Iterable[Tensor], offset: float) -> tuple[float, float]:
    """Mean and standard deviation of log10(pixel + offset) over all maps of a stream, in float64.

    Args:
        blocks: some maps at a time, any shape.
        offset: added to the pixels first [unit of the maps].
    """
    count, mean, squares = 0, 0.0, 0.0
    for block in blocks:
        logs = torch.log10(block.double() + offset)
        n_new, new_mean = logs.numel(), float(logs.mean())
        total, change = count + n_new, new_mean - mean
        squares += float((logs - new_mean).square().sum()) + change**2 * count * n_new / total
        mean += change * n_new / total
        count = total
    return mean, float(np.sqrt(squares / max(count, 1)))


def load_positive(suite: Suite, simulation: int, offset: float, device: torch.device | str) -> Tensor:
    """The maps of a simulation, refused where a pixel has no logarithm."""
    maps = suite.load_simulation(simulation, device)
    if not bool((maps + offset > 0).all()):
        n_bad = int((~(maps + offset > 0)).sum())
        told = f"{n_bad} pixels of simulation {simulation} are zero or have no logarithm, which networks read"
        remedy = "train on a field without such pixels, or on maps of particles spread over discs"
        raise DataError([f"{suite.files.maps_path}: {told}; {remedy}"])
    return maps
