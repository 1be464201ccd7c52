"""Trained networks applied to maps that they have not seen: each once, found again where that was done."""

from dataclasses import replace
from pathlib import Path

from fieldlevel.data.suite import Suite
from fieldlevel.errors import UserError
from fieldlevel.files import sha256_of, write_text
from fieldlevel.inference.evaluate_spec import EvaluateSpec
from fieldlevel.inference.evaluation import predict_suite
from fieldlevel.inference.predictor import load
from fieldlevel.inference.software import record_software
from fieldlevel.json_files import read_json_object, write_json
from fieldlevel.layout import Layout
from fieldlevel.numerics.device import select_device
from fieldlevel.progress import Listener, Progress
from fieldlevel.spec_io import digest, to_json
from fieldlevel.statistics.metrics import evaluate
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.study.jobs import run_name, weights_of
from fieldlevel.study.keys import source_sets, tested_set
from fieldlevel.study.letter_data import LetterData
from fieldlevel.study.store import Store


def test_once(store: Store, test: EvaluateSpec, data: LetterData, device: str, listener: Listener) -> PairResult:
    """Apply the trained network of a test, unless that was done."""
    network = test.network
    weights = weights_of(store, network, data.opened)
    predictions = apply_once(store, test, weights, data, device)
    listener(Progress(f"test {network.suite} on {test.suite}", 1, 1, "networks"))
    scores, sets = evaluate(predictions), (network.set_name, test.set_name)
    return PairResult(network.suite, test.suite, predictions, scores, network.seed, *sets)


def apply_once(store: Store, spec: EvaluateSpec, weights: Path, data: LetterData, device: str) -> Predictions:
    """Apply a network to a suite, or find it applied."""

    def work(folder: Path) -> None:
        suite = data.opened[tested_set(spec)].transformed(spec.transform)
        predictions = predict_suite(load(weights, device), suite, spec.numbers or spec.simulations)
        predictions.write_csv(folder / "predictions.csv")
        write_json(folder / "checksum.json", {"predictions.csv": sha256_of(folder / "predictions.csv")})
        write_text(folder / "spec.json", to_json(spec) + "\n")
        record_software(folder, select_device(device))

    folder = store.ensure(_test_name(spec), _test_key(store, spec, data), work)
    trained, *_, tested = (suite.layout for suite in _used(spec, data))
    return _with_layouts(_read_predictions(folder), trained, tested)


def _test_name(spec: EvaluateSpec) -> str:
    return f"{run_name(spec.network).replace('train', 'test', 1)}-on-{spec.suite}"


def _test_key(store: Store, spec: EvaluateSpec, data: LetterData) -> str:
    """Digest of the spec and of the maps of both suites; as an earlier version had it where such a run is."""
    known = [suite.fingerprints for suite in _used(spec, data)]
    keys = [digest(spec, *(each[place] for each in known)) for place in (0, -1)]
    return store.known(_test_name(spec), keys)


def _used(spec: EvaluateSpec, data: LetterData) -> list[Suite]:
    """The maps that the network was trained on, and those that it is tested on."""
    return [data.opened[each] for each in (*source_sets(spec.network), tested_set(spec))]


def is_predicted(store: Store, data: LetterData, spec: EvaluateSpec) -> bool:
    """Whether a test was done, so that the weights of its network are needed no more."""
    return store.folder(_test_name(spec), _test_key(store, spec, data)).is_dir()


def _with_layouts(predictions: Predictions, trained: Layout, tested: Layout) -> Predictions:
    """Predictions with the layout of the tested maps, and the parameters of both suites by their names."""
    known = {parameter.name: parameter for layout in (trained, tested) for parameter in layout.parameters}
    parameters = tuple(known.get(parameter.name, parameter) for parameter in predictions.layout.parameters)
    return replace(predictions, layout=replace(tested, parameters=parameters))


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
