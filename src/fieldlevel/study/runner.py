"""The letter from a data folder to measured results: what is missing is done, once; what was killed goes on.

    data folder -> networks of each experiment -> predictions of unseen simulations -> measures with bootstrap errors

Everything lies below one output folder: `data/` (mock suites, where no data is given) and `runs/` (see `store`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fieldlevel.data.suite import Suite, check_distinct, open_suite, split_simulations
from fieldlevel.data.transformed import idle_scale
from fieldlevel.errors import UserError
from fieldlevel.files import sha256_of, write_text
from fieldlevel.inference.evaluate_spec import EvaluateSpec
from fieldlevel.inference.evaluation import predict_suite
from fieldlevel.inference.predictor import load
from fieldlevel.inference.software import describe_software, record_software
from fieldlevel.json_files import read_json_object, write_json
from fieldlevel.numerics.device import select_device
from fieldlevel.parameters import HYDRO_SUITES, MAPS_PER_SIMULATION, FloatArray, is_nbody
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.simulate.mock_suite import simulate_suite
from fieldlevel.simulate.sets import pinned, rows_of_set
from fieldlevel.simulate.simulation import SIMULATOR_VERSION
from fieldlevel.spec_io import digest, in_plain_types, to_json
from fieldlevel.statistics.metrics import evaluate
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.ratios import TransferRatios, transfer_ratios
from fieldlevel.study import plan as letter
from fieldlevel.study.jobs import (
    NetworkRun,
    Searches,
    affordable,
    found_by,
    search_missing,
    train_missing,
    trained_network,
    weights_of,
)
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.mean_only import MeanOnly, predict_from_mean
from fieldlevel.study.store import Store
from fieldlevel.training.settings import check_train_spec, refuse_large_batch, refuse_unused
from fieldlevel.workers import choose_devices

N_EXAMPLES = 4
"""Maps of each suite in Fig. 1."""


@dataclass(frozen=True)
class LetterData:
    """A data folder and the two suites that are compared.

    Attributes:
        directory: folder of CMD files.
        suites: names of the two.
        opened: the suites by name, with the gravity-only twins that the folder holds.
        key: digest of the spec and of all the data it meets.
    """

    directory: Path
    suites: tuple[str, str]
    opened: Mapping[str, Suite]
    key: str

    @property
    def field(self) -> str:
        """Field of the maps."""
        return self.opened[self.suites[0]].field


@dataclass(frozen=True)
class LetterRun:
    """What the experiments gave.

    Attributes:
        data: the maps that were used.
        spec: of the letter.
        trained: networks with the first seed, by experiment and training suite.
        searches: for hyper-parameters, by what the networks read and by suite.
        experiments: every tested network by experiment, in the order of `letter.experiments`.
        transfer: RMSE over that on the network's own suite, for all of `matrix` that crosses suites.
        mean_only: a predictor that knows the mean of a map alone, by suite.
        examples: maps of each suite for Fig. 1, (n_examples, N, N).
        facts: what the data is, in words.
        software: version, commit, hardware, date.
    """

    data: LetterData
    spec: LetterSpec
    trained: Mapping[str, Mapping[str, NetworkRun]]
    searches: Searches
    experiments: Mapping[str, tuple[PairResult, ...]]
    transfer: TransferRatios
    mean_only: Mapping[str, MeanOnly]
    examples: Mapping[str, FloatArray]
    facts: Mapping[str, str | int | float]
    software: Mapping[str, str]

    @property
    def networks(self) -> Mapping[str, NetworkRun]:
        """Those of the four pairs."""
        return self.trained[letter.FIRST]

    @property
    def losses(self) -> dict[str, dict[str, float]]:
        """Validation loss of each network as it predicts, by experiment and training suite."""
        return {
            name: {suite: network.validation_loss for suite, network in networks.items()}
            for name, networks in self.trained.items()
        }

    @property
    def pairs(self) -> tuple[PairResult, ...]:
        """The four pairs with the first seed: each network on its own suite, then on the other."""
        return first_seed(self.experiments["four pairs"])

    @property
    def matrix(self) -> tuple[PairResult, ...]:
        """Networks on maps as they are, with the first seed: hydrodynamic suites, then gravity-only ones."""
        return suite_matrix(self.experiments)

    @property
    def is_mock(self) -> bool:
        """Whether any map was simulated by this package."""
        return any(suite.is_mock for suite in self.data.opened.values())


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
    if directory is None:
        _check_before_simulating(spec)
        directory = out / "data" / digest(pinned(spec.simulate), SIMULATOR_VERSION)
        for mock in letter.simulations(spec):
            simulate_suite(mock, directory, device, workers, listener)
    suites = letter.choose_suites(spec, directory)
    tested = letter.trained_suites(letter.experiments(spec, suites, directory))
    names = sorted(tested, key=lambda name: (is_nbody(name), name))
    opened = {name: open_suite(directory, name, spec.train.field, spec.train.set_name, check=False) for name in names}
    _check_sizes(spec, opened)
    for suite in opened.values():
        suite.digest_maps(listener)
    return LetterData(directory, suites, opened, digest(spec, *(suite.fingerprint for suite in opened.values())))


def _check_spec(spec: LetterSpec) -> LetterSpec:
    """The spec in plain types, unless no letter can have it."""
    spec = in_plain_types(LetterSpec, spec)
    letter.check_letter(spec)
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
    simulate, train, mocks = spec.simulate, spec.train, [mock.suite for mock in letter.simulations(spec)]
    if len(mocks) != 2:
        raise UserError(f"suites: {', '.join(mocks)} would be simulated, a letter compares two; give --data")
    if spec.suites and set(spec.suites) != set(mocks):
        raise UserError(f"suites: {' '.join(spec.suites)}: without --data they are {' and '.join(mocks)}")
    if train.set_name != simulate.set_name or train.field not in simulate.fields:
        made = f"{', '.join(simulate.fields)} of set {simulate.set_name}"
        raise UserError(f"train: {train.field} of set {train.set_name}, but {made} would be simulated; name the same")
    _check_split(spec, len(rows_of_set(simulate)))
    _check_scales(spec, simulate.n_pixels)


def _check_split(spec: LetterSpec, n_simulations: int) -> None:
    split = spec.train.split
    parts = split_simulations(n_simulations, split.seed, split.train, split.validation)
    for part in ("train", "summary"):
        refuse_large_batch(getattr(spec, part).batch_size, MAPS_PER_SIMULATION * len(parts.train), f"{part}.")


def _check_scales(spec: LetterSpec, n_pixels: int) -> None:
    """Refuse transforms of the wanted experiments that leave such maps as they are, or nothing of them."""
    for transform in letter.trained_transforms(spec):
        if (reason := idle_scale(transform, n_pixels)) is not None:
            unit, flag = _SCALES[transform.kind]
            given = f"{transform.kind}: {transform.scale:g} {unit}"
            raise UserError(f"{given}, but {reason} with {flag}, or choose experiments with --only")


_SCALES = {"k_max": ("h/Mpc", "--k-max"), "smoothing": ("pixels", "--smoothing")}


def _check_sizes(spec: LetterSpec, opened: Mapping[str, Suite]) -> None:
    sizes = {name: suite.n_pixels for name, suite in opened.items()}
    if len(set(sizes.values())) > 1:
        raise UserError(f"maps of different size: {', '.join(f'{name} {n} x {n}' for name, n in sizes.items())}")
    _check_scales(spec, next(iter(sizes.values())))
    for suite in opened.values():
        _check_split(spec, suite.n_simulations)


def run_letter(
    spec: LetterSpec,
    data: LetterData,
    out: Path,
    device: str = "auto",
    listener: Listener = ignore,
    show_pairs: Callable[[Sequence[PairResult]], None] = lambda pairs: None,
    workers: int = 1,
) -> LetterRun:
    """Train and test every network of every experiment; networks are spread over the GPUs, or processes on the CPU.

    Args:
        spec: suites, experiments and networks.
        data: the maps.
        out: output folder; complete runs in it are not repeated.
        device: where the networks run.
        listener: hears of the progress.
        show_pairs: called with the four pairs as soon as they are there, long before the rest.
        workers: processes on the CPU, of one thread each if there are several.

    Returns:
        Predictions, measures and what the figures need.

    Raises:
        DataError: the data is not sound.
        TrainingError: a loss is not finite.
    """
    spec = in_plain_types(LetterSpec, spec)
    for suite in data.opened.values():
        open_suite(data.directory, suite.suite, suite.field, suite.set_name, listener=listener)
    check_distinct([suite.files for suite in data.opened.values()], listener)
    store = Store(out / "runs")
    devices = affordable(choose_devices(device, workers), data.opened)
    done: dict[str, tuple[PairResult, ...]] = {}
    searches: Searches = {}
    for is_first in (True, False):
        wanted = letter.searches(spec, _stage(spec, data, searches, is_first))
        searches = {**searches, **search_missing(store, wanted, data.opened, devices, listener)}
        plan = _stage(spec, data, searches, is_first)
        train_missing(store, plan, data.opened, devices, listener)
        done |= {name: tuple(_test_once(store, test, data, device, listener) for test in plan[name]) for name in plan}
        if is_first:
            show_pairs(first_seed(done[letter.FIRST]))
    plan = letter.experiments(spec, data.suites, data.directory, found_by(searches))
    return LetterRun(
        data=data,
        spec=spec,
        trained={name: _first_networks(store, tests, data) for name, tests in plan.items()},
        searches=searches,
        experiments=done,
        transfer=transfer_ratios(suite_matrix(done)),
        mean_only={suite: predict_from_mean(data.opened[suite], spec.train.split) for suite in data.suites},
        examples={name: _examples(data.opened[name], spec) for name in data.suites},
        facts=_describe_data(spec, data),
        software=describe_software(select_device(device)),
    )


def _stage(spec: LetterSpec, data: LetterData, searches: Searches, is_first: bool) -> dict[str, letter.Tests]:
    """The four pairs, or everything else, with what was found so far."""
    plan = letter.experiments(spec, data.suites, data.directory, found_by(searches))
    return {name: tests for name, tests in plan.items() if (name == letter.FIRST) == is_first}


def _first_networks(store: Store, tests: letter.Tests, data: LetterData) -> dict[str, NetworkRun]:
    """Networks with the lowest seed, by training suite."""
    lowest = min(test.network.seed for test in tests)
    specs = {test.network.suite: test.network for test in tests if test.network.seed == lowest}
    return {suite: trained_network(store, spec, data.opened) for suite, spec in specs.items()}


def first_seed(results: Sequence[PairResult]) -> tuple[PairResult, ...]:
    """Those of the networks with the lowest seed."""
    lowest = min((result.seed for result in results), default=0)
    return tuple(result for result in results if result.seed == lowest)


def suite_matrix(experiments: Mapping[str, Sequence[PairResult]]) -> tuple[PairResult, ...]:
    """Tests on maps as they are with the first seed: hydrodynamic suites, then gravity-only ones."""
    names = ("four pairs", "hydro to N-body", "N-body to hydro")
    tests = [result for name in names for result in first_seed(experiments.get(name, ()))]
    return tuple(sorted(tests, key=lambda result: (is_nbody(result.train_suite), is_nbody(result.test_suite))))


def _test_once(store: Store, test: EvaluateSpec, data: LetterData, device: str, listener: Listener) -> PairResult:
    """Apply the trained network of a test, unless that was done."""
    network = test.network
    weights = weights_of(store, network, data.opened)
    predictions = apply_once(store, test, weights, data, device)
    listener(Progress(f"test {network.suite} on {test.suite}", 1, 1, "networks"))
    return PairResult(network.suite, test.suite, predictions, evaluate(predictions), network.seed)


def apply_once(store: Store, spec: EvaluateSpec, weights: Path, data: LetterData, device: str) -> Predictions:
    """Apply a network to a suite, or find it applied."""

    def work(folder: Path) -> None:
        suite = data.opened[spec.suite].transformed(spec.transform)
        predictions = predict_suite(load(weights, device), suite, spec.simulations)
        predictions.write_csv(folder / "predictions.csv")
        write_json(folder / "checksum.json", {"predictions.csv": sha256_of(folder / "predictions.csv")})
        write_text(folder / "spec.json", to_json(spec) + "\n")
        record_software(folder, select_device(device))

    fingerprints = [data.opened[name].fingerprint for name in (spec.network.suite, spec.suite)]
    folder = store.ensure(f"test-{spec.network.suite}-on-{spec.suite}", digest(spec, *fingerprints), work)
    return _read_predictions(folder)


def _read_predictions(folder: Path) -> Predictions:
    path, checksum = folder / "predictions.csv", folder / "checksum.json"
    try:
        known = read_json_object(checksum)
        if known.get(path.name) == sha256_of(path):
            return Predictions.read_csv(path)
        reason = "it is not as it was written"
    except UserError as error:
        reason = str(error)
    told = f"{path}: changed or damaged since it was written"
    raise UserError(f"{told} ({reason}); delete {folder} and give the command again")


def _examples(suite: Suite, spec: LetterSpec) -> FloatArray:
    """The first slab of simulations spread over the range of Omega_m, from the training set."""
    split = spec.train.split
    known = split_simulations(suite.n_simulations, split.seed, split.train, split.validation).train
    ordered = known[np.argsort(suite.parameters[known, 0])]
    places = ((np.arange(N_EXAMPLES) + 0.5) / N_EXAMPLES * len(ordered)).astype(int)
    return np.array([suite.read_simulation(int(number))[0] for number in ordered[places]])


def _origin(data: LetterData) -> str:
    if any(suite.is_mock for suite in data.opened.values()):
        return "MOCK DATA simulated by this package, not CAMELS"
    known = all(suite in HYDRO_SUITES for suite in data.suites)
    return "CAMELS Multifield Dataset files" if known else "files in the format of the CAMELS Multifield Dataset"


def _describe_data(spec: LetterSpec, data: LetterData) -> dict[str, str | int | float]:
    first = data.opened[data.suites[0]]
    split = spec.train.split
    parts = split_simulations(first.n_simulations, split.seed, split.train, split.validation)
    facts: dict[str, str | int | float] = {
        "origin": _origin(data),
        "suites": ", ".join(data.opened),
        "field and set": f"{first.field}, {first.set_name}",
        "maps": f"{first.n_maps} of {first.n_pixels} x {first.n_pixels} pixels a suite",
        "simulations": f"{first.n_simulations} a suite",
        "split": f"{len(parts.train)} training, {len(parts.validation)} validation, {len(parts.test)} test simulations",
        "seed of the split": split.seed,
        "seed of the networks": spec.train.seed,
        "normaliser": "training maps only" if spec.train.normaliser == "train" else "whole suite (legacy)",
    }
    return facts | {f"fingerprint of {name}": suite.fingerprint for name, suite in data.opened.items()}
