"""The data of a letter: the user's own folder, or mock suites that are simulated below the output folder."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from fieldlevel.crews import current_crew
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import Suite, open_suite
from fieldlevel.data.transformed import idle_scale
from fieldlevel.errors import UserError, shown
from fieldlevel.layout import Layout
from fieldlevel.numerics.device import select_device
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.simulate.mock_suite import simulate_suite
from fieldlevel.simulate.sets import pinned, rows_of_set
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.simulate.simulation import SIMULATOR_VERSION
from fieldlevel.simulate.variants import OF_VARIANTS, variants_of
from fieldlevel.spec_io import digest, in_plain_types
from fieldlevel.statistics.bootstrap import told_of_few
from fieldlevel.study.experiments import registered_kinds
from fieldlevel.study.keys import FIRST, Plan, SetKey, tested_set, trained_set
from fieldlevel.study.letter_checks import check_letter, trained_transforms
from fieldlevel.study.letter_plan import choose_suites, experiments, refuse_absent, simulations, used_sets
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.numerics_data import apart, lack_of_memory, numerics_simulations
from fieldlevel.study.numerics_sets import parse_numerics_set
from fieldlevel.study.one_parameter_data import one_parameter_simulations
from fieldlevel.suites import camels_suites, is_nbody, layout_of, mock_suites
from fieldlevel.training.settings import check_train_spec, refuse_large_batch, refuse_unused
from fieldlevel.workers import choose_devices


@dataclass(frozen=True)
class LetterData:
    """A data folder and the suites that are compared.

    Attributes:
        directory: folder of CMD files.
        suites: names of these.
        opened: the suites by name and set, with the gravity-only twins and the other sets of the experiments that the
            folder holds.
        key: digest of the spec and of all the data it meets.
        earlier: the same as versions had it that knew mock maps by their pixels.
        set_name: of the letter.
        left_out: what was not simulated, and why, in words.
    """

    directory: Path
    suites: tuple[str, ...]
    opened: Mapping[SetKey, Suite]
    key: str
    earlier: tuple[str, ...] = ()
    set_name: str = "LH"
    left_out: tuple[str, ...] = ()

    def of(self, suite: str) -> Suite:
        """The maps of a suite in the set of the letter."""
        return self.opened[suite, self.set_name]

    @property
    def own(self) -> dict[str, Suite]:
        """All suites in the set of the letter, by name."""
        return {name: suite for (name, set_name), suite in self.opened.items() if set_name == self.set_name}

    @property
    def layout(self) -> Layout:
        """Of the maps of the first suite."""
        return self.of(self.suites[0]).layout

    @property
    def is_mock(self) -> bool:
        """Whether any map was simulated by this package."""
        return any(suite.is_mock for suite in self.opened.values())


def prepare_data(
    spec: LetterSpec,
    directory: Path | None,
    out: Path,
    device: str = "auto",
    workers: int = 1,
    listener: Listener = ignore,
) -> LetterData:
    """The data folder of the letter: the user's own, or mock suites that are simulated now unless they are there.

    Args:
        spec: suites, simulations and networks.
        directory: folder of CMD files; None simulates below `out`.
        out: output folder.
        device: where to simulate.
        workers: processes that simulate on the CPU or on each GPU.
        listener: hears of the progress.

    Returns:
        The folder with its suites opened; pixels are not checked yet.

    Raises:
        UserError: settings that cannot be used, or a folder that does not hold two suites.
    """
    select_device(device)
    spec = _check_spec(spec)
    left_out: tuple[str, ...] = ()
    if directory is None:
        directory, suites, left_out = _simulated(spec, out, device, workers, listener)
    else:
        suites = choose_suites(spec, directory)
    return _open(spec, directory, suites, experiments(spec, suites, directory), listener, left_out)


def prepare_pairs(
    spec: LetterSpec, out: Path, device: str = "auto", workers: int = 1, listener: Listener = ignore
) -> LetterData:
    """The mock suites of a letter, which its pairs need, before twins and other sets are simulated beside them.

    Arguments and errors are those of `prepare_data`, which adds what is wanting; its `key` is another.
    """
    select_device(device)
    spec = _check_spec(spec)
    own, directory = _own_simulations(spec, out)
    simulate_suite(apart(own)[0], directory, device, workers, listener)
    alone = replace(spec, only=(FIRST.label,))
    pairs = {FIRST: experiments(alone, own.suites, directory)[FIRST]}
    return _open(alone, directory, own.suites, pairs, listener)


def _open(
    spec: LetterSpec,
    directory: Path,
    suites: tuple[str, ...],
    plan: Plan,
    listener: Listener,
    left_out: tuple[str, ...] = (),
) -> LetterData:
    """The sets of a folder that some tests need."""
    own = spec.train.set_name
    names = sorted(used_sets(plan), key=lambda key: (key[1] != own, key[1], is_nbody(key[0]), key[0]))
    opened = {key: open_suite(directory, key[0], spec.train.field, key[1], check=False) for key in names}
    _check_sizes(spec, {in_words(key, own): suite for key, suite in opened.items()})
    _check_splits(spec, plan, opened)
    for suite in opened.values():
        suite.digest_maps(listener)
    key, earlier = (
        digest(spec, *(suite.fingerprints[place] for suite in opened.values()), *registered_kinds())
        for place in (0, -1)
    )
    return LetterData(directory, suites, opened, key, (earlier,), own, left_out)


def _simulated(
    spec: LetterSpec, out: Path, device: str, workers: int, listener: Listener
) -> tuple[Path, tuple[str, ...], tuple[str, ...]]:
    """The folder of the mock suites, which are simulated unless they are there, their names, and what is left out."""
    own, directory = _own_simulations(spec, out)
    others = [*numerics_simulations(spec)[1:], *one_parameter_simulations(spec)]
    devices = choose_devices(device, workers)
    tried = others if current_crew() is None else []  # nobody knows the memory of workers that are yet to join
    lacking = {each.set_name: told for each in tried if (told := lack_of_memory(each, directory, devices))}
    for set_name, told in lacking.items():
        listener(Progress(f"simulate {set_name}", 0, 0, "simulations", f"left out: {told}"))
    for wanted in (*apart(own), *(each for each in others if each.set_name not in lacking)):
        simulate_suite(wanted, directory, device, workers, listener)
    return directory, own.suites, tuple(f"{set_name}: {told}" for set_name, told in lacking.items())


def _own_simulations(spec: LetterSpec, out: Path) -> tuple[SimulateSpec, Path]:
    """How to simulate the suites that are compared, and the folder of all that is simulated."""
    _check_before_simulating(spec)
    own = numerics_simulations(spec)[0]
    return own, out / "data" / digest(pinned(_without_company(own)), SIMULATOR_VERSION)


def _without_company(spec: SimulateSpec) -> SimulateSpec:
    """What a folder is named after, so that suites, the twin and thinned sets can be added to one that is there."""
    usual = asdict(SimulateSpec())
    return replace(spec, **{name: usual[name] for name in ("suites", "twin", *OF_VARIANTS)})


def _check_spec(spec: LetterSpec) -> LetterSpec:
    """The spec in plain types, unless no letter can have it."""
    spec = in_plain_types(LetterSpec, spec)
    check_letter(spec)
    for part in ("train", "summary"):
        train = getattr(spec, part)
        try:
            check_train_spec(train)
        except UserError as error:
            raise UserError(f"{part}.{error}") from None
        refuse_unused(train, part=f"{part}.")
    return spec


def _check_before_simulating(spec: LetterSpec) -> None:
    """Refuse what would only fail after the simulations."""
    simulate, train = spec.simulate, spec.train
    if any(suite not in mock_suites() for suite in spec.suites):
        *most, last = mock_suites()
        told = f"without --data they are {', '.join(most)} and {last}, which this package simulates"
        raise UserError(f"suites: {' '.join(spec.suites)}: {told}; name these, or give --data")
    if train.set_name != simulate.set_name or train.field not in simulate.fields:
        made = f"{', '.join(simulate.fields)} of set {simulate.set_name}"
        raise UserError(f"train: {train.field} of set {train.set_name}, but {made} would be simulated; name the same")
    names = [variant.set_name for variant in variants_of(numerics_simulations(spec)[0])]
    refuse_absent(spec, dict.fromkeys(simulations(spec).suites, names), "those to be simulated")
    first = simulations(spec).suites[0]
    layout = replace(layout_of(first, simulate.set_name), n_pixels=simulate.n_pixels)
    _check_split(spec, len(rows_of_set(simulate, first)), layout)
    _check_scales(spec, layout)


def _check_split(spec: LetterSpec, n_simulations: int, layout: Layout) -> None:
    parts = spec.train.split.divide(n_simulations)
    for part in ("train", "summary"):
        refuse_large_batch(getattr(spec, part).batch_size, layout.n_maps * len(parts.train), f"{part}.")


def _check_scales(spec: LetterSpec, layout: Layout) -> None:
    """Refuse transforms of the wanted experiments that leave such maps as they are, or nothing of them."""
    for transform in trained_transforms(spec):
        if (reason := idle_scale(transform, layout.n_pixels, layout)) is not None:
            unit, setting = _SCALES[transform.kind], transform.kind
            if setting == "smoothing" and transform.scale not in spec.smoothing:
                setting = "numerics_smoothing"
            given, flag = f"{setting}: {transform.scale:g} {unit}", f"--{setting.replace('_', '-')}"
            raise UserError(f"{given}, but {reason} with {flag}, or choose experiments with --only")


_SCALES = {"k_max": "h/Mpc", "smoothing": "pixels"}


def _check_sizes(spec: LetterSpec, opened: Mapping[str, Suite]) -> None:
    sizes = {name: suite.n_pixels for name, suite in opened.items()}
    if len(set(sizes.values())) > 1:
        raise UserError(f"maps of different size: {', '.join(f'{name} {n} x {n}' for name, n in sizes.items())}")
    check_layouts({name: suite.layout for name, suite in opened.items()})
    units = {name: suite.layout.unit(spec.train.field) for name, suite in opened.items()}
    if len(set(filter(None, units.values()))) > 1:
        told = ", ".join(f"{name} {shown(unit or 'unknown')}" for name, unit in units.items())
        raise UserError(f"{spec.train.field} in different units: {told}")
    for suite in opened.values():
        _check_scales(spec, suite.layout)


def _check_splits(spec: LetterSpec, plan: Plan, opened: Mapping[SetKey, Suite]) -> None:
    """Refuse sets that no network can be trained on, or that leave it nothing to be tested on."""
    networks = {trained_set(test.network): test.network for tests in plan.values() for test in tests}
    for key in networks:
        _check_split(spec, opened[key].n_simulations, opened[key].layout)
        own = opened.get((key[0], spec.train.set_name), opened[key])
        if opened[key].n_simulations != own.n_simulations:
            told = f"{in_words(key)}: {opened[key].n_simulations} simulations, but {own.set_name} has "
            told += f"{own.n_simulations}; both must have the same, so that what one network has seen the other has too"
            raise UserError(f"{told}; make all of them, or take the set away")
    for suite, set_name in dict.fromkeys(tested_set(test) for tests in plan.values() for test in tests):
        base = parse_numerics_set(set_name).base
        if base != set_name and (suite, base) in opened:
            _check_beside(spec, opened[suite, set_name], opened[suite, base])


def _check_beside(spec: LetterSpec, suite: Suite, base: Suite) -> None:
    """Refuse a set of other numbers of particles that is not of the simulations of its base, or of none to test on."""
    told, n = f"{suite.suite} {suite.set_name}", min(suite.n_simulations, base.n_simulations)
    differs = (~np.isclose(suite.parameters[:n], base.parameters[:n], rtol=0, atol=1e-5)).any(axis=1)
    if differs.any():
        told = f"{told}: row {int(np.argmax(differs))} of its table is not that of {base.set_name}"
        raise UserError(f"{told}, whose simulations it should have; take it away or give it another name")
    test = spec.train.split.divide(base.n_simulations).test
    if base.set_name == spec.train.set_name and min(test) >= n:
        told = f"{told}: none of its {n} simulations is a test simulation of {base.set_name}"
        raise UserError(f"{told} (the first of these is {min(test)}); make more, or take the set away")


def in_words(key: SetKey, own: str = "") -> str:
    """Names of suite and set, without the set where it is the letter's own.

    Example:
        >>> in_words(("SIMBA", "LHthin2"), "LH"), in_words(("SIMBA", "LH"), "LH")
        ('SIMBA LHthin2', 'SIMBA')
    """
    suite, set_name = key
    return suite if set_name == own else f"{suite} {set_name}"


def check_layouts(layouts: Mapping[str, Layout]) -> None:
    """Refuse suites whose maps or labels no network can go between.

    Args:
        layouts: by suite.

    Raises:
        UserError: boxes, slabs or redshifts that differ, or no cosmological parameter in common.
    """
    slabs = {name: f"{each.slab_thickness_mpc_h:g} of {each.box_size_mpc_h:g} Mpc/h" for name, each in layouts.items()}
    if len(set(slabs.values())) > 1:
        raise UserError(f"slabs of different size: {', '.join(f'{name} {size}' for name, size in slabs.items())}")
    redshifts = {name: f"{each.redshift:.2f}" for name, each in layouts.items()}
    if len(set(redshifts.values())) > 1:
        raise UserError(f"maps of different redshift: {', '.join(f'{name} {z}' for name, z in redshifts.items())}")
    shared = set.intersection(*({each.name for each in layout.cosmological} for layout in layouts.values()))
    if not shared:
        raise UserError(
            f"{', '.join(layouts)}: no cosmological parameter in common, which a letter is about; name others"
        )


def _origin(data: LetterData) -> str:
    if data.is_mock:
        return "MOCK DATA simulated by this package, not CAMELS"
    known = all(suite in camels_suites() for suite in data.suites)
    return "CAMELS Multifield Dataset files" if known else "files in the format of the CAMELS Multifield Dataset"


def _each(numbers: Sequence[int]) -> str:
    """A number of each suite: one where all agree.

    Example:
        >>> _each([20, 20]), _each([26, 20])
        ('20', '20 to 26')
    """
    return f"{min(numbers)} to {max(numbers)}" if len(set(numbers)) > 1 else str(numbers[0])


def _split_in_words(n_simulations: Sequence[int], split: SplitSpec) -> str:
    each = [split.divide(n) for n in n_simulations]
    sets = {"train": "training", "validation": "validation", "calibration": "calibration", "test": "test"}
    sizes = {words: _each([len(getattr(parts, name)) for parts in each]) for name, words in sets.items()}
    return ", ".join(f"{size} {words}" for words, size in sizes.items() if size != "0") + " simulations"


def describe_data(spec: LetterSpec, data: LetterData, n_tested: int | None = None) -> dict[str, str | int | float]:
    """What the data is, in words.

    Args:
        spec: of the networks.
        data: the maps.
        n_tested: simulations of a suite that networks were tested on; those of the split when None.
    """
    first = data.of(data.suites[0])
    split = spec.train.split
    n_maps, n_simulations = ([getattr(s, n) for s in data.own.values()] for n in ("n_maps", "n_simulations"))
    others = dict.fromkeys(set_name for _, set_name in data.opened if set_name != data.set_name)
    facts: dict[str, str | int | float] = {
        "origin": _origin(data),
        "suites": ", ".join(data.own),
        "field and set": f"{first.field}, {first.set_name}",
        "maps": f"{_each(n_maps)} of {first.n_pixels} x {first.n_pixels} pixels a suite",
        "simulations": f"{_each(n_simulations)} a suite",
        "split": _split_in_words(n_simulations, split),
        "seed of the split": split.seed,
        "seed of the networks": spec.train.seed,
        "normaliser": "training maps only" if spec.train.normaliser == "train" else "whole suite (legacy)",
    }
    if others:
        facts["other sets"] = ", ".join(others)
    least = min(len(split.divide(n).test) for n in n_simulations) if n_tested is None else n_tested
    if few := told_of_few(least):
        facts["tested on"] = few
    names = {in_words(key, data.set_name): suite for key, suite in data.opened.items()}
    facts |= _simulators(names)
    if data.left_out:
        facts["left out"] = "; ".join(data.left_out)
    return facts | {f"fingerprint of {name}": " ".join(suite.fingerprints) for name, suite in names.items()}


def _simulators(opened: Mapping[str, Suite]) -> dict[str, str]:
    """Which simulator made the mock maps, as far as it is known, and a remark where they are of several."""
    made = {name: suite.made_from.simulator for name, suite in opened.items() if suite.made_from is not None}
    if not made:
        return {}
    if len(set(made.values())) == 1:
        return {"simulator": f"version {min(made.values())}"}
    told = ", ".join(f"{version} of {name}" for name, version in made.items())
    return {"remark": f"maps of different simulators, {told}: answers across them may be off"}
