"""The data of a training: the suites that it draws from, their splits, their targets, and what was seen of each.

The split of the training is made of the simulations of each source by itself, so that siblings of one number, which
have the same initial conditions, are in the same part in all of them. Sources without labels take part in training
alone: nothing is chosen by them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fieldlevel.arrays import FloatArray
from fieldlevel.data.batches import MapSet, load_map_set
from fieldlevel.data.labels import used_columns
from fieldlevel.data.normalise import AnyNormaliser, fit_inputs
from fieldlevel.data.outputs import pooled_parameters, truths_of
from fieldlevel.data.seen import SeenSource, record_seen
from fieldlevel.data.split import Split
from fieldlevel.data.suite import Suite, open_suite
from fieldlevel.data.transformed import refuse_idle_scale
from fieldlevel.errors import UserError
from fieldlevel.layout import Layout
from fieldlevel.progress import Listener, ignore
from fieldlevel.statistics.rescaling import LEAST_SIMULATIONS
from fieldlevel.suites import is_nbody, shares_seeds
from fieldlevel.training.settings import refuse_large_batch
from fieldlevel.training.source_rules import maps_of_sources
from fieldlevel.training.source_spec import SourceSpec
from fieldlevel.training.train_spec import TrainSpec


@dataclass(frozen=True, eq=False)
class Source:
    """One suite that a network is trained on.

    Attributes:
        spec: its name, and whether it has labels.
        suite: its maps as they are in the files.
        split: of its simulations.
    """

    spec: SourceSpec
    suite: Suite
    split: Split

    @property
    def validation(self) -> npt.NDArray[np.int64]:
        """Numbers of the simulations that a checkpoint is chosen with; none of a source without labels."""
        return self.split.validation if self.spec.labelled else self.split.validation[:0]

    @property
    def seen(self) -> npt.NDArray[np.int64]:
        """Numbers of all simulations that the network sees in training, those of the training set first."""
        return np.concatenate([self.split.train, self.validation])

    @property
    def calibration(self) -> npt.NDArray[np.int64]:
        """Numbers of the simulations that it is calibrated with afterwards; none of a source without labels."""
        return self.split.calibration if self.spec.labelled else self.split.calibration[:0]


def open_data(
    spec: TrainSpec, directory: str | Path, listener: Listener = ignore, *, check: bool = True
) -> tuple[Source, ...]:
    """The sources of a spec and the splits of their simulations, which are refused before any map is read.

    Args:
        spec: suite or sources, field, outputs and split.
        directory: folder of CMD-format files.
        listener: told about maps read.
        check: whether to check every map of the suites.

    Raises:
        DataError: a folder that cannot be used.
        UserError: a set of the split would be empty, or too small to calibrate with, all training simulations have the
            same label, or share their initial conditions by design, a batch is larger than the training set, a
            transform leaves all or nothing of such maps, an output is none of a source, or the sources differ in more
            than their physics.
    """
    suites = open_suites(spec, directory)
    _refuse_differences(spec, suites)
    sources = _apart(
        [Source(each, suite, _part(spec, each, suite)) for each, suite in zip(spec.all_sources, suites, strict=True)]
    )
    refuse_idle_scale(spec.transform, sources[0].suite.n_pixels, sources[0].suite.layout)
    _refuse_large_batches(spec, sources)
    outputs_of(spec, sources)
    _refuse_few_to_calibrate(spec, sources)
    labelled = [source for source in sources if source.spec.labelled]
    _refuse_shared_seeds(labelled)
    _refuse_equal_labels(labelled)
    if not check:
        return sources
    return tuple(replace(source, suite=_checked(source.suite, listener)) for source in sources)


def _part(spec: TrainSpec, source: SourceSpec, suite: Suite) -> Split:
    """The split with those training simulations alone that the source has."""
    split = spec.split.divide(suite.n_simulations)
    first, last = (round(fraction * len(split.train)) for fraction in source.part)
    if first == last:
        told = f"sources: part = {source.part[0]:g} to {source.part[1]:g} of {source.suite}: none"
        raise UserError(f"{told} of its {len(split.train)} training simulations; give a larger one")
    return _limited(split._replace(train=split.train[first:last]), source)


def _apart(sources: Sequence[Source]) -> tuple[Source, ...]:
    """The sources, those that are `apart` without simulations that have a sibling with labels."""
    return tuple(_without_siblings(each, sources) if each.spec.apart else each for each in sources)


def _without_siblings(source: Source, sources: Sequence[Source]) -> Source:
    labelled = [each for each in sources if each.spec.labelled and _are_siblings(each.suite, source.suite)]
    known = np.concatenate([source.split.train[:0], *(each.seen for each in labelled)])
    known = np.concatenate([known, *(each.calibration for each in labelled)])
    kept = source.split.train[~np.isin(source.split.train, known)]
    if not len(kept):
        names = " and ".join(each.spec.suite for each in labelled)
        told = f"sources: all training simulations of {source.spec.suite} have siblings with labels in {names}"
        raise UserError(f"{told}; keep some for it, e.g. part = [0.0, 0.5] of these and [0.5, 1.0] of it")
    return replace(source, split=source.split._replace(train=kept))


def _are_siblings(one: Suite, other: Suite) -> bool:
    """Whether simulations of one number have the same initial conditions."""
    return one.layout.initial_conditions == other.layout.initial_conditions != ""


def _limited(split: Split, source: SourceSpec) -> Split:
    """The split with those training simulations alone that a source names."""
    if not source.simulations:
        return split
    named = np.array(source.simulations, dtype=np.int64)
    if len(others := np.setdiff1d(named, split.train)):
        told = f"sources: simulations = {others[0]} of {source.suite}, which is not in its training set"
        raise UserError(f"{told}; name simulations of the {len(split.train)} there")
    return split._replace(train=split.train[np.isin(split.train, named)])


def open_suites(spec: TrainSpec, directory: str | Path) -> list[Suite]:
    """The suites of the sources of a spec, their maps unchecked.

    Raises:
        DataError: a folder that cannot be used.
    """
    return [
        open_suite(directory, source.suite, spec.field, source.set_name, check=False) for source in spec.all_sources
    ]


def _checked(suite: Suite, listener: Listener) -> Suite:
    return open_suite(suite.directory, suite.suite, suite.field, suite.set_name, listener=listener)


def _refuse_differences(spec: TrainSpec, suites: Sequence[Suite]) -> None:
    """Maps of one batch are of one kind, and siblings of one number are in one part of the split."""
    for suite in suites[1:]:
        if not _are_alike(suites[0], suite, spec.field):
            told = " and ".join(f"{each.suite} {_in_words(each, spec.field)}" for each in (suites[0], suite))
            raise UserError(f"sources: {told}; give sources of the same maps")
    for one, other in combinations(suites, 2):
        if _are_siblings(one, other) and one.n_simulations != other.n_simulations:
            told = f"{one.suite} has {one.n_simulations} simulations, {other.suite} {other.n_simulations}"
            why = "of the same initial conditions, so that siblings would be trained on and tested"
            raise UserError(f"sources: {told} {why}; give sources of equally many")


def _are_alike(one: Suite, other: Suite, field: str) -> bool:
    is_same_unit = one.layout.unit(field) == other.layout.unit(field)
    return one.n_pixels == other.n_pixels and is_same_unit and one.layout.has_same_slabs(other.layout)


def _in_words(suite: Suite, field: str) -> str:
    layout, unit = suite.layout, suite.layout.unit(field)
    slabs = f"slabs of {layout.slab_thickness_mpc_h:g} Mpc/h of a box of {layout.box_size_mpc_h:g} Mpc/h"
    told = f"has maps of {suite.n_pixels} pixels a side, {slabs}"
    return f"{told}, in {unit}" if unit else told


def _refuse_large_batches(spec: TrainSpec, sources: Sequence[Source]) -> None:
    sizes = [len(source.suite.maps_of(source.split.train)) for source in sources]
    if len(sources) == 1:
        refuse_large_batch(spec.batch_size, sizes[0])
        return
    for source, count, n_maps in zip(sources, maps_of_sources(spec), sizes, strict=True):
        if count > n_maps and spec.batch_size != TrainSpec().batch_size:
            told = f"batch_size = {spec.batch_size}: {count} maps of {source.spec.suite}, which has {n_maps}"
            raise UserError(f"{told}; take a smaller batch or share")


def _refuse_few_to_calibrate(spec: TrainSpec, sources: Sequence[Source]) -> None:
    n = sum(len(source.calibration) for source in sources)
    if spec.calibration != "none" and 0 < n < LEAST_SIMULATIONS:
        told = f"split.calibration = {spec.split.calibration:g}: {n} simulations to calibrate with"
        raise UserError(f"{told}; take {LEAST_SIMULATIONS} at least, better 100, or --calibration none")


def _refuse_shared_seeds(labelled: Sequence[Source]) -> None:
    """No part of the split may know the initial conditions of another: such sets are there to be evaluated on."""
    for source in labelled:
        if shares_seeds(source.suite.set_name):
            told = f"{source.suite.suite} {source.suite.set_name}: its simulations share their initial conditions"
            raise UserError(f"{told}; test on it, and train on a set with seeds of its own, such as LH")


def _refuse_equal_labels(labelled: Sequence[Source]) -> None:
    """A network on simulations of one label has nothing to learn; in gravity-only suites the cosmology is the label."""
    for source in labelled:
        suite = source.suite
        labels = suite.parameters[source.split.train][:, used_columns(suite.suite, suite.layout)]
        if not (labels == labels[0]).all():
            return
    raise UserError(
        f"{labelled[0].suite.files.parameters_path}: all training simulations have the same parameters, so there is "
        "nothing to learn; train on a set that varies them, such as LH"
    )


def outputs_of(spec: TrainSpec, sources: Sequence[Source]) -> Layout:
    """The layout of a network: box, slabs and units of its maps, and its outputs as the parameters.

    Raises:
        UserError: an output that no labelled source has.
    """
    taught = [(source.spec.suite, _taught(source, sources)) for source in sources if source.spec.labelled]
    is_mock = any(source.suite.is_mock or source.suite.layout.is_mock for source in sources)
    return replace(sources[0].suite.layout, parameters=pooled_parameters(taught, spec.outputs), is_mock=is_mock)


def _taught(source: Source, sources: Sequence[Source]) -> Layout:
    """What the maps of a source tell something of: beside others, gravity alone tells nothing of feedback."""
    layout = source.suite.layout
    if len(sources) == 1 or not is_nbody(source.suite.suite):
        return layout
    return layout.select([parameter.name for parameter in layout.cosmological])


def load_sets(
    spec: TrainSpec, sources: Sequence[Source], device: torch.device, listener: Listener = ignore
) -> tuple[AnyNormaliser, MapSet, MapSet]:
    """What the network of a spec reads, of the training and the validation simulations, and how it was normalised.

    Args:
        spec: transform, inputs, labels, outputs and normaliser.
        sources: the maps as they are in the files. Those of test sets are not read, but for the legacy normaliser.
        device: where the maps are to live.
        listener: told about simulations read.

    Returns:
        The normaliser, of the maps of all sources together, and the maps of the training and validation sets; labels
        are permuted within each source.
    """
    outputs = outputs_of(spec, sources)
    prepared = [replace(source, suite=_prepared(spec, source)) for source in sources]
    is_fitted = spec.normaliser == "train"
    measured = [(source.suite, source.split.train if is_fitted else None) for source in prepared]
    normaliser = fit_inputs(spec.inputs, measured, listener, device)

    def load(number: int, simulations: npt.NDArray[np.int64]) -> MapSet:
        suite, targets = prepared[number].suite, _targets(prepared[number], outputs, sources)
        loaded = load_map_set(suite, simulations, normaliser, device, targets=targets, listener=listener)
        first = next(i for i, each in enumerate(sources) if i == number or _are_siblings(each.suite, suite))
        numbers = {"source": number, "seeds": first}
        return replace(loaded, **{name: torch.full_like(loaded.simulation, i) for name, i in numbers.items()})

    training = MapSet.joined([load(number, source.split.train) for number, source in enumerate(prepared)])
    if spec.labels == "permuted suites":
        taught = [number for number, source in enumerate(prepared) if source.spec.labelled]
        training = replace(training, source=_permuted_sources(training, taught, spec.seed))
    labelled = [(number, source) for number, source in enumerate(prepared) if source.spec.labelled]
    validation = MapSet.joined([load(number, source.validation) for number, source in labelled])
    return normaliser, training, validation


def _permuted_sources(maps: MapSet, taught: Sequence[int], seed: int) -> torch.Tensor:
    """Numbers of sources, (n,), permuted among the simulations of some of them: maps of one simulation stay together.

    Each number is that of as many simulations as before, and those of other sources keep theirs.
    """
    source, simulation = maps.source.cpu().numpy(), maps.simulation.cpu().numpy()
    keys, of_map = np.unique(np.stack([source, simulation], axis=1), axis=0, return_inverse=True)
    numbers, places = keys[:, 0].copy(), np.flatnonzero(np.isin(keys[:, 0], taught))
    numbers[places] = numbers[np.random.default_rng(seed).permutation(places)]
    return torch.from_numpy(numbers[of_map.reshape(-1)]).to(maps.source)


def _prepared(spec: TrainSpec, source: Source) -> Suite:
    suite = source.suite.transformed(spec.transform).blurred(spec.blur, spec.seed)
    permutes = spec.labels == "permuted" and source.spec.labelled
    return suite.with_permuted_labels(source.seen, spec.seed) if permutes else suite


def _targets(source: Source, outputs: Layout, sources: Sequence[Source]) -> FloatArray:
    """Of all simulations of a source, (n, P) in the unit interval, NaN where unknown."""
    suite, taught = source.suite, _taught(source, sources)
    table = suite.parameters[:, [suite.layout.column(name) for name in taught.names]]
    truths = truths_of(outputs, suite.suite, taught, table)
    return outputs.to_unit_interval(truths if source.spec.labelled else np.full_like(truths, np.nan))


def fingerprint_of(suites: Sequence[Suite]) -> str:
    """Thirty-two hexadecimal digits of all data of a training: the fingerprint of a suite alone, else of all of them.

    Raises:
        DataError: a map file ends before its last map.
    """
    return _joined([suite.fingerprint for suite in suites])


def fingerprints_of(suites: Sequence[Suite]) -> tuple[str, ...]:
    """All that the data of a training is known by: `fingerprint_of`, then that of the pixels as in earlier versions.

    Raises:
        DataError: a map file ends before its last map.
    """
    return tuple(dict.fromkeys((fingerprint_of(suites), _joined([suite.pixel_fingerprint for suite in suites]))))


def _joined(each: Sequence[str]) -> str:
    return each[0] if len(each) == 1 else hashlib.blake2b("\n".join(each).encode(), digest_size=16).hexdigest()


def seen_sources(sources: Sequence[Source], listener: Listener = ignore) -> tuple[SeenSource, ...]:
    """What there is to keep of all simulations that a network sees.

    Args:
        sources: of its training.
        listener: told about simulations read.
    """
    return tuple(
        SeenSource(
            source.spec.suite,
            source.spec.set_name,
            source.spec.labelled,
            source.suite.layout.initial_conditions,
            tuple(source.split.train.tolist()),
            tuple(source.validation.tolist()),
            record_seen(source.suite, np.concatenate([source.seen, source.calibration]), listener),
            source.suite.made_from,
            tuple(source.calibration.tolist()),
        )
        for source in sources
    )
