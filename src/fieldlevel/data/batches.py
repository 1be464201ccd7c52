r"""Maps and targets on the device: normalised once, drawn in batches, augmented there.

A map is normalised as \((\log_{10}(x + o) - m) / s\) with one scalar mean \(m\) and standard deviation \(s\) for all
maps; \(o = 1\) for stellar mass, which may vanish, and 0 for everything else. A network may read a summary of the map
instead, each number of which is normalised by itself.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldlevel.data.pixels import ZERO_FIELDS
from fieldlevel.data.suite import Suite
from fieldlevel.errors import DataError, UserError
from fieldlevel.numerics.summaries import SUMMARIES
from fieldlevel.numerics.transforms import N_SYMMETRIES, all_symmetries, augment
from fieldlevel.parameters import MAPS_PER_SIMULATION, prior_ranges, to_unit_interval
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.spec_io import STRICT, from_json

Augmentation = Literal["none", "symmetries", "symmetries+shifts"]

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


def fit_inputs(
    suite: Suite,
    inputs: str,
    simulations: npt.NDArray[np.integer] | None = None,
    listener: Listener = ignore,
    device: torch.device | str = "cpu",
) -> AnyNormaliser:
    """Fit the normaliser of what a network reads: `fit_normaliser` for maps, or `fit_summary`."""
    if inputs == "maps":
        return fit_normaliser(suite, simulations, listener, device)
    return fit_summary(suite, inputs, simulations, listener, device)


def fit_summary(
    suite: Suite,
    summary: str,
    simulations: npt.NDArray[np.integer] | None = None,
    listener: Listener = ignore,
    device: torch.device | str = "cpu",
) -> SummaryNormaliser:
    """Measure the mean and standard deviation of every number of a summary; arguments as in `fit_normaliser`."""
    numbers = np.arange(suite.n_simulations) if simulations is None else simulations
    offset = LOG_OFFSETS.get(suite.field, 0.0)
    parts = []
    for done, simulation in enumerate(numbers, start=1):
        parts.append(SUMMARIES[summary](_load_positive(suite, simulation, offset, device) + offset).double())
        listener(Progress(f"summarise {suite.suite}", done, len(numbers), "simulations"))
    values = torch.cat(parts)
    std = values.std(0, correction=0)
    std = std.where(std > 0, 1.0)
    mean: list[float] = values.mean(0).tolist()
    return SummaryNormaliser(summary, suite.n_pixels, tuple(mean), tuple(std.tolist()), offset)


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
    numbers = np.arange(suite.n_simulations) if simulations is None else simulations
    offset = LOG_OFFSETS.get(suite.field, 0.0)
    blocks = _simulations(suite, numbers, offset, listener, device)
    mean, std = measure_logarithm(blocks, offset)
    if not std > 0:
        raise DataError([f"{suite.files.maps_path}: the pixels of all maps chosen are equal; give maps with structure"])
    return Normaliser(mean, std, offset)


def _simulations(
    suite: Suite, numbers: npt.NDArray[np.integer], offset: float, listener: Listener, device: torch.device | str
) -> Iterator[Tensor]:
    for done, simulation in enumerate(numbers, start=1):
        yield _load_positive(suite, simulation, offset, device)
        listener(Progress(f"measure {suite.suite}", done, len(numbers), "simulations"))


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


def _load_positive(suite: Suite, simulation: int, offset: float, device: torch.device | str) -> Tensor:
    """The maps of a simulation, refused where a pixel has no logarithm."""
    maps = suite.load_simulation(simulation, device)
    if not bool((maps + offset > 0).all()):
        n_bad = int((~(maps + offset > 0)).sum())
        told = f"{n_bad} pixels of simulation {simulation} are zero or have no logarithm, which networks read"
        remedy = "train on a field without such pixels, or on maps of particles spread over discs"
        raise DataError([f"{suite.files.maps_path}: {told}; {remedy}"])
    return maps


class Batch(NamedTuple):
    """Maps of a step on the device.

    Attributes:
        maps: normalised, float32, shape (b, 1, N, N), or summaries, (b, 1, F).
        theta: targets in the unit interval, shape (b, P).
        source: number of the source that each map is of, int64, shape (b,).
    """

    maps: Tensor
    theta: Tensor
    source: Tensor


@dataclass(frozen=True, eq=False)
class MapSet:
    """Normalised maps with their targets, on one device.

    Attributes:
        maps: normalised maps, shape (n, N, N), or summaries of them, (n, F).
        theta: targets in the unit interval, float32, shape (n, 6).
        simulation: number of the simulation of each map, int64, shape (n,).
        source: number of the source that each map is of, int64, shape (n,); zeros where there is one alone.
    """

    maps: Tensor
    theta: Tensor
    simulation: Tensor
    source: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def __post_init__(self) -> None:
        if len(self.source) != len(self.simulation):
            object.__setattr__(self, "source", torch.zeros_like(self.simulation))

    @property
    def n_maps(self) -> int:
        """Number of maps."""
        return len(self.maps)

    @property
    def n_views(self) -> int:
        """Symmetries of a map: eight; a summary has but one."""
        return N_SYMMETRIES if self.maps.ndim == 3 else 1

    def views(self, chosen: slice) -> Tensor:
        """All symmetries of some maps as a batch for the network, float32, (n_views * n, 1, ...)."""
        maps = self.maps[chosen]
        return (all_symmetries(maps).flatten(0, 1) if self.n_views > 1 else maps)[:, None].float()


def load_map_set(
    suite: Suite,
    simulations: npt.NDArray[np.integer],
    normaliser: AnyNormaliser,
    device: torch.device | str = "cpu",
    *,
    dtype: torch.dtype = torch.float32,
    listener: Listener = ignore,
) -> MapSet:
    """Read the maps of some simulations, one simulation at a time, and normalise or summarise them on the device.

    Args:
        suite: the maps and labels.
        simulations: numbers of simulations, shape (n,).
        normaliser: fitted beforehand.
        device: where the maps are to live.
        dtype: of the maps there; a 16-bit type halves the memory.
        listener: told about simulations read.

    Returns:
        Maps of the simulations in the order given, 15 each.

    Raises:
        DataError: pixels without a logarithm.
        UserError: no simulation has that number.
    """
    simulation = torch.from_numpy(suite.simulation_of_map[suite.maps_of(simulations)]).to(device)
    maps = torch.empty(0)
    for i, number in enumerate(simulations):
        block = normaliser.normalise(_load_positive(suite, number, normaliser.offset, device))
        if i == 0:
            maps = torch.empty((len(simulation), *block.shape[1:]), dtype=dtype, device=device)
        maps[i * MAPS_PER_SIMULATION : (i + 1) * MAPS_PER_SIMULATION] = block
        listener(Progress(f"load {suite.suite}", i + 1, len(simulations), "simulations"))
    unit_theta = to_unit_interval(suite.parameters, *prior_ranges(suite.suite))
    targets = torch.from_numpy(unit_theta).to(device, torch.float32)
    return MapSet(maps, targets[simulation], simulation)


class BatchSampler:
    """Batches of full size in which every map comes once an epoch, augmented on the device of the maps.

    What an epoch leaves over opens the next batch, ahead of a new permutation. All random numbers come from a generator
    on the CPU, so that a seed gives the same batches on every device.

    Args:
        map_set: maps to draw from.
        batch_size: maps in a batch.
        augmentation: what is drawn for each map of a batch: nothing, one of the eight symmetries of the square, or a
            symmetry and a periodic shift.
        seed: of the generator.
        share: part of every batch to return; all random numbers of the batch are drawn nevertheless.
    """

    def __init__(
        self, map_set: MapSet, batch_size: int, augmentation: Augmentation, seed: int, share: slice = slice(None)
    ) -> None:
        self.map_set = map_set
        self.batch_size = batch_size
        self.augmentation = augmentation
        self.share = share
        self._generator = torch.Generator().manual_seed(seed)
        self._queue = torch.empty(0, dtype=torch.int64)

    def draw(self) -> Batch:
        """Draw the next batch and return the share of it, b maps: all of them unless told otherwise.

        Returns:
            Maps, targets and sources.
        """
        return self.gather(self.choose().to(self.map_set.maps.device))

    def choose(self) -> Tensor:
        """Draw which maps come next and what is done to each.

        Returns:
            Number of the map, symmetry, shifts of rows and columns: integers on the CPU, shape (b, 4).
        """
        chosen = torch.zeros(self.batch_size, 4, dtype=torch.int64)
        chosen[:, 0] = self._draw_numbers()
        if self._augments:
            n_shifts = self.map_set.maps.shape[-1] if self.augmentation == "symmetries+shifts" else 1
            chosen[:, 1] = torch.randint(N_SYMMETRIES, (self.batch_size,), generator=self._generator)
            chosen[:, 2:] = torch.randint(n_shifts, (self.batch_size, 2), generator=self._generator)
        return chosen[self.share]

    def gather(self, chosen: Tensor) -> Batch:
        """Make a batch of what was chosen; nothing in it waits for the device.

        Args:
            chosen: what `choose` returned, on the device of the maps.

        Returns:
            What `draw` returns.
        """
        numbers, symmetry, shift = chosen[:, 0], chosen[:, 1], chosen[:, 2:]
        maps = self.map_set.maps[numbers]
        maps = augment(maps, symmetry, shift) if self._augments else maps
        return Batch(maps.float().unsqueeze(1), self.map_set.theta[numbers], self.map_set.source[numbers])

    def state_dict(self) -> dict[str, Tensor]:
        """State from which the same batches follow."""
        return {"queue": self._queue.clone(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state of `state_dict`."""
        self._queue = state["queue"].clone()
        self._generator.set_state(state["generator"])

    def _draw_numbers(self) -> Tensor:
        while len(self._queue) < self.batch_size:
            permutation = torch.randperm(self.map_set.n_maps, generator=self._generator)
            self._queue = torch.cat([self._queue, permutation])
        numbers, self._queue = self._queue[: self.batch_size], self._queue[self.batch_size :]
        return numbers

    @property
    def _augments(self) -> bool:
        return self.augmentation != "none" and self.map_set.n_views > 1
