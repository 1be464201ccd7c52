"""A trained network with everything that it takes to predict on raw maps.

A weights file holds the weights and, as metadata, the spec, the sizes of the network, the normaliser, the labels in
column order and the simulations that the network has seen, so that an evaluation can refuse them. A file to hand on may
hold the weights in float16, at half the size (`shrink_weights`).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldlevel.arrays import FloatArray, IntArray, as_array
from fieldlevel.data.given import as_maps, as_pixels, read_for, refuse_bad_pixels
from fieldlevel.data.map_records import MapRecord
from fieldlevel.data.normalise import AnyNormaliser, SummaryNormaliser
from fieldlevel.data.read_ahead import read_ahead
from fieldlevel.data.seen import SeenMaps, SeenSource
from fieldlevel.data.transformed import transform_maps
from fieldlevel.errors import UserError
from fieldlevel.estimators.densities import Density, TruncatedNormal, density_of
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.estimators.published_states import refuse_other_formats
from fieldlevel.estimators.rescaled_density import rescaled
from fieldlevel.estimators.sizes import whole_number
from fieldlevel.inference.calibration import Calibration, calibration_path, read_calibration
from fieldlevel.inference.combining import boxes_of
from fieldlevel.inference.embedding import Embedding
from fieldlevel.inference.level import refuse_far_levels
from fieldlevel.inference.map_reader import maps_at_once
from fieldlevel.inference.packaged import find_weights, refuse_disguised_mock
from fieldlevel.inference.posterior import Posterior
from fieldlevel.inference.simulator_versions import mixed_simulators, other_simulator
from fieldlevel.inference.transfer_errors import TransferErrors
from fieldlevel.inference.trust.judging import Judging, reference_of, simulation_numbers
from fieldlevel.inference.trust.layer_statistics import watched
from fieldlevel.inference.trust.map_statistics import Measured, measured_of
from fieldlevel.layout import Layout
from fieldlevel.numerics.device import exact_float32, select_device
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.progress_bars import telling
from fieldlevel.suites import MOCK_MARK, is_mock, is_nbody
from fieldlevel.training.source_spec import SourceSpec
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.weights_checks import REMEDY
from fieldlevel.training.weights_file import WeightsFile, read_weights_file
from fieldlevel.wording import joined, name_some


class _Block(NamedTuple):
    """What a network says of some maps, and what was measured of them on the way; moments in units of the prior."""

    place: slice
    answer: Any
    mean: FloatArray
    std: FloatArray
    measured: Measured | None


@dataclass(frozen=True, eq=False)
class Predictor:
    """A trained network that takes raw maps and answers in physical units.

    Attributes:
        network: the network, in evaluation mode.
        spec: how it was trained.
        normaliser: statistics of the logarithm of its training maps.
        training_simulations: numbers of the simulations that it was trained on, of the first source if there are more.
        validation_simulations: numbers of the simulations of that source that its checkpoint was chosen with.
        provenance: where the weights come from, e.g. the fingerprint of the data.
        seen: what these simulations are known by under another name; None of weights from before that was kept.
        source: the file, for messages.
        layout: of its training maps; its parameters are those that the network infers, with the priors that its targets
            were made with.
        other_sources: what it has seen of other sources than the first.
        made_from: what the mock maps of the first source were simulated from; None where that is not known.
        calibration_simulations: numbers of the simulations of the first source that were set apart to calibrate with.
        calibration: how its standard deviations are rescaled, and by what they grow on other suites; None where it was
            not calibrated.
        checksum: of its weights file; empty of a network that is in none.

    Example:
        >>> predictor = load("MockTNG", "cpu")
        >>> predictor
        <Predictor of MockTNG, MOCK DATA: Omega_m, sigma_8, A_SN1, A_AGN1, A_SN2, A_AGN2 from Mtot maps of 256 x 256>
        >>> one_map = 1e11 * torch.rand(256, 256, generator=torch.Generator().manual_seed(1))
        >>> mean, std = predictor.predict(one_map, anyway=True)
        >>> mean.shape, std.shape
        ((1, 6), (1, 6))
    """

    network: Estimator
    spec: TrainSpec
    normaliser: AnyNormaliser
    training_simulations: npt.NDArray[np.int64]
    validation_simulations: npt.NDArray[np.int64]
    provenance: Mapping[str, Any]
    seen: SeenMaps | None = None
    source: str = "this network"
    layout: Layout = field(default_factory=Layout)
    other_sources: tuple[SeenSource, ...] = ()
    made_from: MapRecord | None = None
    calibration_simulations: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    calibration: Calibration | None = None
    checksum: str = ""

    def __repr__(self) -> str:
        suites = ", ".join(source.suite for source in self.spec.all_sources)
        mark = f", {MOCK_MARK}" if self.is_mock else ""
        names = self.layout.names if len(self.layout.names) <= 8 else (*self.layout.names[:7], "...")
        maps = f"{self.spec.field} maps of {self.n_pixels} x {self.n_pixels}"
        return f"<Predictor of {suites}{mark}: {', '.join(names)} from {maps}>"

    @property
    def sources(self) -> tuple[SeenSource, ...]:
        """What its file tells that the network has seen, by source of its training."""
        spec, whose = self.spec.all_sources[0], self.layout.initial_conditions
        training, validation, calibration = (
            tuple(map(int, numbers))
            for numbers in (self.training_simulations, self.validation_simulations, self.calibration_simulations)
        )
        sets = (training, validation, self.seen, self.made_from, calibration)
        return (SeenSource(spec.suite, spec.set_name, spec.labelled, whose, *sets), *self.other_sources)

    @property
    def seen_sources(self) -> tuple[SeenSource, ...]:
        """All that the network has seen: the sources of its training, then what it was calibrated with later."""
        return (*self.sources, *(() if self.calibration is None else self.calibration.sources))

    @property
    def is_mock(self) -> bool:
        """Whether the network was trained on mock maps, labelled or not."""
        return self.layout.is_mock or any(is_mock(source.suite) for source in self.spec.all_sources)

    @property
    def device(self) -> str:
        """Where it computes."""
        return str(next(self.network.parameters()).device)

    @property
    def n_pixels(self) -> int:
        """Pixels a side of the maps that it takes."""
        if isinstance(self.normaliser, SummaryNormaliser):
            return self.normaliser.n_pixels
        return self.network.shape[-1]

    @property
    def remarks(self) -> tuple[str, ...]:
        """What one should know before believing the answers; none of a network on the maps as they are."""
        spec, transform = self.spec, self.spec.transform
        remarks = []
        if spec.labels == "permuted":
            remarks.append("trained on permuted labels, from which nothing can be learnt")
        if transform.kind == "smoothing":
            far = f"{transform.scale:g} pixel{'s' * (transform.scale != 1)}"
            remarks.append(f"trained on maps smoothed by {far}, as it smooths those given to it")
        elif transform.kind != "none":
            scale = f" {transform.scale:g}" if transform.scale else ""
            remarks.append(f"trained on transformed maps ({transform.kind}{scale}), as it makes of those given to it")
        if spec.blur:
            remarks.append(f"trained on maps each smoothed by up to {spec.blur:g} pixels")
        if len(spec.all_sources) > 1:
            alone = all(is_mock(source.suite) for source in spec.all_sources)
            stand_ins = ", mock suites alone: it has seen no real simulation" if alone else ""
            remarks.append(f"trained on {_in_words(spec.all_sources)}{stand_ins}")
        elif is_nbody(spec.suite) and len(self.layout.cosmological) < self.layout.n_parameters:
            remarks.append("trained on gravity-only maps: its feedback parameters mean nothing")
        remarks += _calibration_remarks(self)
        if isinstance(remark := self.provenance.get("remark"), str):
            remarks.append(remark)
        return (*remarks, *mixed_simulators(self.sources))

    def remarks_on(self, made_from: MapRecord | None) -> tuple[str, ...]:
        """The remarks, and whether these maps come from another simulator than those of the training.

        Args:
            made_from: what the maps were simulated from; None where that is not known, and of real maps.
        """
        return (*self.remarks, *other_simulator(self.sources, made_from))

    def outside_prior(self, mean: npt.ArrayLike | Tensor, std: npt.ArrayLike | Tensor) -> npt.NDArray[np.bool_]:
        """Which answers no posterior inside the prior can have: `Layout.outside_prior`."""
        return self.layout.outside_prior(mean, std)

    def predict(
        self,
        maps: npt.ArrayLike | Tensor,
        batch_size: int = 128,
        listener: Listener = ignore,
        *,
        anyway: bool = False,
        verbose: bool = False,
    ) -> tuple[FloatArray, FloatArray]:
        """Infer the posterior mean and standard deviation of every parameter for every map.

        Maps are read in blocks, so a memory-mapped array may be larger than memory. The network runs in float32; each
        map is taken by itself, whatever stands beside it; a network of shuffled pixels or random phases draws them by
        the place of the map.

        Args:
            maps: raw maps in the units of the training field, e.g. (Msun/h)/(Mpc/h)^2; array, tensor or list of shape
                (n, N, N) or (n, 1, N, N), or one map, (N, N).
            batch_size: maps in a block, at most; on a CPU fewer are faster.
            listener: told of every block.
            anyway: also answer for maps whose level lies far from that of the training (`inference.level`).
            verbose: whether to show the progress, too.

        Returns:
            Means and standard deviations in physical units, each (n, P), columns in the order of
            `layout.parameters`.

        Raises:
            UserError: maps of another size, not numbers, with pixels that no map has, or in another unit than those of
                the training; answers that are not finite.
        """
        given = as_maps(maps, self.n_pixels)
        mean, std = np.empty((2, len(given), self.network.n_outputs))
        with telling(listener, verbose) as told:
            for block in self._blocks(given, batch_size, told, anyway=anyway):
                mean[block.place], std[block.place] = block.mean, block.std
        return self.layout.from_unit_interval(mean, std)

    def posterior(
        self,
        maps: npt.ArrayLike | Tensor,
        batch_size: int = 128,
        listener: Listener = ignore,
        *,
        simulations: npt.ArrayLike | None = None,
        anyway: bool = False,
        verbose: bool = False,
    ) -> Posterior:
        """Infer the posterior of every map: moments, intervals, samples and densities in physical units.

        Maps are taken as `predict` takes them, and its answers are the `moments` of the posterior.

        Args:
            maps: as of `predict`, one or more.
            batch_size: maps in a block, at most; on a CPU fewer are faster.
            listener: told of every block.
            simulations: number or name of the simulation that each map is of, (n,): maps of one box are no independent
                looks at the parameters; of one map it may be the number alone. None where nobody knows.
            anyway: also answer for maps whose level lies far from that of the training.
            verbose: whether to show the progress, too.

        Returns:
            The posterior of n maps.

        Raises:
            UserError: as `predict`; no maps, or not as many simulations; a damaged reference (`inference.trust`).
        """
        given = as_maps(maps, self.n_pixels)
        boxes, judging = _simulations(simulations, len(given)), Judging(self, reference_of(self))
        numbers = simulation_numbers(boxes, len(given), self.layout.n_maps)
        with telling(listener, verbose) as told:
            density, moments = self.read(given, numbers, judging, batch_size, told, anyway=anyway)
        return Posterior(density, self.layout, moments, boxes, judging.verdict())

    def density(self, maps: npt.ArrayLike | Tensor, batch_size: int = 128, *, anyway: bool = False) -> Density:
        """The density of the posterior of every map alone, in units of the prior; arguments as of `posterior`."""
        given, judging = as_maps(maps, self.n_pixels), Judging(self, None)
        return self.read(given, np.zeros(len(given), dtype=np.int64), judging, batch_size, anyway=anyway)[0]

    def read(
        self,
        maps: Any,
        numbers: IntArray,
        judging: Judging,
        batch_size: int = 128,
        listener: Listener = ignore,
        *,
        anyway: bool = False,
    ) -> tuple[Density, tuple[FloatArray, FloatArray]]:
        """Densities and moments of maps, and what `judging` is to know of them, from one pass through the network.

        Args:
            maps: raw, (n, N, N), one or more.
            numbers: of the simulation of each map, (n,).
            judging: of this network, to which the maps are added.
            batch_size: maps in a block, at most; on a CPU fewer are faster.
            listener: told of every block.
            anyway: as of `predict`.

        Returns:
            The density of every map, in units of the prior; means and standard deviations as of `predict`.

        Raises:
            UserError: as `predict`.
        """
        densities, moments, watch = [], [], judging.reference is not None
        for block in self._blocks(maps, batch_size, listener, anyway=anyway, watch=watch):
            densities.append(self._density(block.answer, block.mean, block.std))
            moments.append((block.mean, block.std))
            judging.add(maps[block.place], numbers[block.place], block.measured)
        mean, std = (np.concatenate(part).astype(float) for part in zip(*moments, strict=True))
        return type(densities[0]).cat(densities), self.layout.from_unit_interval(mean, std)

    @property
    def embedding(self) -> Embedding:
        """A module from raw maps to features, e.g. for sbi's `embedding_net`; each call makes a copy of its own."""
        return Embedding(self.network, self.normaliser, self.spec.transform, self.layout, self.n_pixels)

    def _blocks(
        self, given: Any, batch_size: int, listener: Listener, *, anyway: bool, watch: bool = False
    ) -> Iterator[_Block]:
        """Blocks of maps in their order, with what is compared with a reference where that is to be watched."""
        most, device = whole_number("batch_size", batch_size), next(self.network.parameters()).device
        size, is_float16 = maps_at_once(self.n_pixels, device, most), "float16" in str(given.dtype)
        places = [slice(start, min(start + size, len(given))) for start in range(0, len(given), size)]
        for place, maps in read_ahead(places, lambda place: read_for(given[place], device)):
            with exact_float32():
                block = self._read_block(maps, place, anyway=anyway, watch=watch, is_float16=is_float16)
            yield block._replace(std=block.std * self._scale(block.mean))
            listener(Progress("predict", place.stop, len(given), "maps"))

    def calibrated(self, mean: npt.ArrayLike | Tensor, std: npt.ArrayLike | Tensor) -> FloatArray:
        """Standard deviations as `predict` gives them, of those that the network itself claims.

        Args:
            mean: posterior means in physical units, (n, P).
            std: standard deviations as the network claims them, before any calibration, (n, P).

        Returns:
            (n, P); as given where the network was not calibrated.
        """
        own = as_array(std)
        return own if self.calibration is None else own * self._scale(self.layout.to_unit_interval(mean))

    def transfer_std(self, mean: npt.ArrayLike | Tensor, std: npt.ArrayLike | Tensor) -> FloatArray:
        """Standard deviations for maps of a suite that the network was not trained on (`inference.transfer_errors`).

        Args:
            mean: posterior means as `predict` gives them, (n, P).
            std: posterior standard deviations as `predict` gives them, (n, P).

        Returns:
            (n, P) in physical units; NaN for parameters that no other suite told anything of.

        Raises:
            UserError: errors on other suites were not measured.
        """
        if (errors := self.transfer_errors) is None:
            told = f"{self.source}: its errors on other suites were not measured"
            raise UserError(f"{told}; measure them with `fieldlevel calibrate ... --transfer SUITE`")
        width = self.layout.highs - self.layout.lows
        return width * errors.std(self.layout.to_unit_interval(mean), as_array(std) / width)

    @property
    def transfer_guarantee(self) -> str:
        """What may be said of `transfer_std`, in a sentence."""
        if self.transfer_errors is None:
            return "errors on other suites were not measured: on another suite nothing is guaranteed"
        return self.transfer_errors.guarantee

    @property
    def transfer_errors(self) -> TransferErrors | None:
        """What is added to standard deviations for maps of another suite; None where that was not measured."""
        return None if self.calibration is None else self.calibration.transfer

    def _density(self, answer: Any, mean: FloatArray, std: FloatArray) -> Density:
        """That of the head, else of the moments as `predict` tells them, in units of the prior."""
        if getattr(self.network.head, "density", None) is None:
            return TruncatedNormal(torch.from_numpy(mean), torch.from_numpy(std))
        density = density_of(self.network.head, answer)
        return density if self.calibration is None else rescaled(density, torch.from_numpy(self._scale(mean)))

    def _scale(self, mean: FloatArray) -> FloatArray:
        """What a calibration multiplies standard deviations with, (n, P); means in units of the prior."""
        return np.ones_like(mean) if self.calibration is None else self.calibration.rescaling.scale(mean)

    @torch.no_grad()
    def _read_block(self, maps: Any, place: slice, *, anyway: bool, watch: bool, is_float16: bool) -> _Block:
        """Standard deviations as the network itself tells them."""
        network, normaliser, numbers = self.network, self.normaliser, np.arange(place.start, place.stop)
        pixels = as_pixels(maps, next(network.parameters()).device)
        refuse_bad_pixels(pixels, place.start, normaliser.offset, is_float16=is_float16)
        seen = transform_maps(pixels, self.spec.transform, numbers, self.layout)
        normalised = normaliser.normalise(seen)
        if not anyway:
            refuse_far_levels(normaliser, normalised, pixels, numbers, self.spec, self.layout)
        with watched(network, len(maps)) if watch else nullcontext() as record:
            answer = network(normalised[:, None])
            moments = network.posterior_of(answer, len(maps))
        mean, std = (moment.cpu().numpy() for moment in moments)
        self._check_answers(mean, std, numbers)
        measured = None if record is None else measured_of(seen + normaliser.offset, record, *moments)
        return _Block(place, answer, mean, std, measured)

    def _check_answers(self, mean: FloatArray, std: FloatArray, numbers: npt.NDArray[np.int64]) -> None:
        bad = ~(np.isfinite(mean).all(axis=1) & np.isfinite(std).all(axis=1) & (std >= 0).all(axis=1))
        if bad.any():
            told = f"its answers for maps {name_some(numbers[bad])} are not finite"
            raise UserError(f"{self.source}: {told}; damaged weights, or maps unlike any: {REMEDY}")


def _calibration_remarks(predictor: Predictor) -> list[str]:
    """Where its standard deviations are not those that one would expect of it."""
    spec, calibration = predictor.spec, predictor.calibration
    was_meant_to = spec.calibration != "none" and spec.split.calibration > 0 and predictor.checksum
    if was_meant_to and (calibration is None or not calibration.is_fitted):
        name = calibration_path(Path(predictor.source)).name
        return [f"trained to be calibrated, but there is no {name} beside it: its standard deviations are as trained"]
    return []


def _in_words(sources: Sequence[SourceSpec]) -> str:
    """Suites, with their sets where these differ, and which are without labels."""
    differ = len({source.set_name for source in sources}) > 1
    names = [f"{source.suite} {source.set_name}" if differ else source.suite for source in sources]
    told = [name if source.labelled else f"{name} (unlabelled)" for name, source in zip(names, sources, strict=True)]
    return joined(told)


def _simulations(simulations: npt.ArrayLike | None, n_maps: int) -> npt.NDArray[Any] | None:
    if n_maps == 0:
        raise UserError("maps: there are none; give one or more")
    return None if simulations is None else boxes_of(simulations, n_maps)


def load(path: str | Path, device: str = "auto") -> Predictor:
    """Load a weights file, or a network that comes with the package; it computes in float32 either way.

    Args:
        path: a `weights.safetensors` written by this package, or a bare name such as `"MockTNG"`
            (`inference.packaged`); where a file of that name exists, it is loaded.
        device: where to predict.

    Raises:
        UserError: not such a file, one of another version, or one for other parameters; no network of that name.
    """
    path = find_weights(path)
    refuse_other_formats(path)
    known = read_weights_file(path)
    for suite, provenance in _provenances(known):
        refuse_disguised_mock(path, suite, provenance)
    first, *others = known.sources
    predictor = Predictor(
        network=known.network,
        spec=known.spec,
        normaliser=known.normaliser,
        training_simulations=np.array(first.training, dtype=np.int64),
        validation_simulations=np.array(first.validation, dtype=np.int64),
        provenance=known.provenance,
        seen=first.seen,
        source=str(path),
        layout=known.layout,
        other_sources=tuple(others),
        made_from=first.made_from,
        calibration_simulations=np.array(first.calibration, dtype=np.int64),
        calibration=read_calibration(path, known.checksum, known.layout.names),
        checksum=known.checksum,
    )
    predictor = replace(predictor, layout=replace(known.layout, n_pixels=predictor.n_pixels))
    predictor.network.to(select_device(device))
    return predictor


def _provenances(known: WeightsFile) -> list[tuple[str, Mapping[str, Any]]]:
    """Suites that the weights claim, each with where its data come from."""
    found = known.provenance.get("source_fingerprints")
    if len(known.sources) == 1 or not isinstance(found, list):
        return [(known.spec.suite, known.provenance)]
    pairs = zip(known.sources, found, strict=False)
    return [(source.suite, {"data_fingerprint": fingerprint}) for source, fingerprint in pairs]
