"""Maps and targets on the device: normalised once, drawn in batches, augmented there.

The maps may come from several sources, simulations of different suites. Every batch then holds as many maps of each as
was asked for, those of the first source first. A target that is not known is NaN: all of a source without labels, and
those of outputs that belong to another suite.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldlevel.arrays import FloatArray
from fieldlevel.data.normalise import AnyNormaliser, load_positive
from fieldlevel.data.suite import Suite
from fieldlevel.errors import UserError
from fieldlevel.numerics.transforms import N_SYMMETRIES, all_symmetries, augment
from fieldlevel.progress import Listener, Progress, ignore

Augmentation = Literal["none", "symmetries", "symmetries+shifts"]


class Batch(NamedTuple):
    """Maps of a step on the device.

    Attributes:
        maps: normalised, float32, shape (b, 1, N, N), or summaries, (b, 1, F).
        theta: targets in the unit interval, NaN where unknown, shape (b, P).
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
        theta: targets in the unit interval, NaN where unknown, float32, shape (n, P).
        simulation: number of the simulation of each map, int64, shape (n,).
        source: number of the source that each map is of, int64, shape (n,); zeros where there is one alone.
        seeds: number of whose initial conditions each map has, int64, shape (n,); the source where nobody says.
            Simulations of one number and of one of these are siblings.
    """

    maps: Tensor
    theta: Tensor
    simulation: Tensor
    source: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    seeds: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def __post_init__(self) -> None:
        if len(self.source) != len(self.simulation):
            object.__setattr__(self, "source", torch.zeros_like(self.simulation))
        if len(self.seeds) != len(self.simulation):
            object.__setattr__(self, "seeds", self.source)

    @classmethod
    def joined(cls, sets: "Sequence[MapSet]") -> "MapSet":
        """The maps of several sets, one set after the other."""
        if len(sets) == 1:
            return sets[0]
        return cls(*(torch.cat([getattr(each, part.name) for each in sets]) for part in fields(cls)))

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
    targets: FloatArray | None = None,
    dtype: torch.dtype = torch.float32,
    listener: Listener = ignore,
) -> MapSet:
    """Read the maps of some simulations, one simulation at a time, and normalise or summarise them on the device.

    Args:
        suite: the maps and labels.
        simulations: numbers of simulations, shape (n,).
        normaliser: fitted beforehand.
        device: where the maps are to live.
        targets: of all simulations of the suite, (n_simulations, P); its parameters in the unit interval when None.
        dtype: of the maps there; a 16-bit type halves the memory.
        listener: told about simulations read.

    Returns:
        Maps of the simulations in the order given, `suite.layout.n_maps` each.

    Raises:
        DataError: pixels without a logarithm.
        UserError: no simulation has that number.
    """
    simulation = torch.from_numpy(suite.simulation_of_map[suite.maps_of(simulations)]).to(device)
    maps, n_maps = torch.empty(0), suite.layout.n_maps
    for i, number in enumerate(simulations):
        block = normaliser.normalise(load_positive(suite, number, normaliser.offset, device))
        if i == 0:
            maps = torch.empty((len(simulation), *block.shape[1:]), dtype=dtype, device=device)
        maps[i * n_maps : (i + 1) * n_maps] = block
        listener(Progress(f"load {suite.suite}", i + 1, len(simulations), "simulations"))
    known = suite.layout.to_unit_interval(suite.parameters) if targets is None else targets
    theta = torch.from_numpy(known).to(device, torch.float32)
    return MapSet(maps, theta[simulation], simulation)


class _Queue:
    """Maps of one source in the order in which they come: what an epoch leaves over goes ahead of a new permutation.

    Args:
        numbers: of its maps in the set.
        n_drawn: maps of it in a batch.
    """

    def __init__(self, numbers: Tensor, n_drawn: int) -> None:
        self.left = torch.empty(0, dtype=torch.int64)
        self._numbers = numbers
        self._n_drawn = n_drawn

    def draw(self, generator: torch.Generator) -> Tensor:
        while len(self.left) < self._n_drawn:
            permutation = torch.randperm(len(self._numbers), generator=generator)
            self.left = torch.cat([self.left, self._numbers[permutation]])
        drawn, self.left = self.left[: self._n_drawn], self.left[self._n_drawn :]
        return drawn


class BatchSampler:
    """Batches of full size in which every map comes once an epoch of its source, augmented on the device of the maps.

    What an epoch leaves over opens the next batch, ahead of a new permutation. All random numbers come from a generator
    on the CPU, so that a seed gives the same batches on every device.

    Args:
        map_set: maps to draw from.
        batch_size: maps in a batch.
        augmentation: what is drawn for each map of a batch: nothing, one of the eight symmetries of the square, or a
            symmetry and a periodic shift.
        seed: of the generator.
        share: part of every batch to return, the same part of each source; all random numbers of the batch are drawn
            nevertheless.
        of_sources: maps of each source in a batch; all are of one when empty.

    Attributes:
        rows: numbers in the whole batch of the maps that are returned, (b,).

    Raises:
        UserError: a source without maps.
    """

    def __init__(
        self,
        map_set: MapSet,
        batch_size: int,
        augmentation: Augmentation,
        seed: int,
        share: slice = slice(None),
        of_sources: Sequence[int] = (),
    ) -> None:
        self.map_set = map_set
        self.batch_size = batch_size
        self.augmentation = augmentation
        self.share = share
        self._generator = torch.Generator().manual_seed(seed)
        counts = tuple(of_sources) or (batch_size,)
        self.rows = _rows_of(share, counts)
        self._queues = [
            _Queue(numbers, count) for numbers, count in zip(_by_source(map_set, counts), counts, strict=True)
        ]

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
        chosen[:, 0] = torch.cat([queue.draw(self._generator) for queue in self._queues])
        if self._augments:
            n_shifts = self.map_set.maps.shape[-1] if self.augmentation == "symmetries+shifts" else 1
            chosen[:, 1] = torch.randint(N_SYMMETRIES, (self.batch_size,), generator=self._generator)
            chosen[:, 2:] = torch.randint(n_shifts, (self.batch_size, 2), generator=self._generator)
        return chosen[self.rows]

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
        """State from which the same batches follow: the queue of each source, and the generator."""
        queues = {_name(number): queue.left.clone() for number, queue in enumerate(self._queues)}
        return queues | {"generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state of `state_dict`."""
        for number, queue in enumerate(self._queues):
            queue.left = state[_name(number)].clone()
        self._generator.set_state(state["generator"])

    @property
    def _augments(self) -> bool:
        return self.augmentation != "none" and self.map_set.n_views > 1


def _name(number: int) -> str:
    return f"queue.{number}" if number else "queue"


def _by_source(map_set: MapSet, counts: Sequence[int]) -> list[Tensor]:
    """Numbers of the maps of each source."""
    if len(counts) == 1:
        return [torch.arange(map_set.n_maps)]
    source = map_set.source.cpu()
    found = [(source == number).nonzero().flatten() for number in range(len(counts))]
    if not all(map(len, found)) or sum(map(len, found)) != map_set.n_maps:
        there = len(set(source.tolist()))
        raise UserError(f"maps of {there} sources, not of {len(counts)}; give maps of each")
    return found


def _rows_of(share: slice, counts: Sequence[int]) -> Tensor:
    """Rows of a batch that are the given part of each source in it."""
    size, rows, first = sum(counts), [], 0
    start, stop, _ = share.indices(size)
    for count in counts:
        rows.append(torch.arange(first + start * count // size, first + stop * count // size))
        first += count
    return torch.cat(rows)
