"""A finished letter on mock suites, read whole and checked: document, networks, searches, where the maps come from."""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.data.layout_files import layout_from_json
from fieldlevel.data.suite import Suite
from fieldlevel.errors import UserError
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.spec_io import from_json
from fieldlevel.study.document import FORMAT
from fieldlevel.study.finished import read_finished
from fieldlevel.study.jobs import NetworkRun, Suites, trained_network, weights_of
from fieldlevel.study.keys import Plan, SetKey
from fieldlevel.study.letter_plan import experiments, searches
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.searches import Searches, found_by, search_folder, search_missing
from fieldlevel.study.store import Store
from fieldlevel.suites import MOCK_MARK, label_suite
from fieldlevel.training.train_spec import TrainSpec

LINK = re.compile(r"\]\((?!https?:)([^)]+)\)")
"""To a file beside a Markdown page."""

MARK = "fingerprint of "
"""Of the facts that name the data of a suite."""

Document = Mapping[str, Any]


@dataclass(frozen=True)
class UsedNetwork:
    """A trained network and the experiments that need it."""

    experiments: tuple[str, ...]
    run: NetworkRun

    @property
    def seconds(self) -> float:
        """Of training, validation and fitting the head again, interruptions left out."""
        return float(self.run.history["seconds"][-1])

    def row(self) -> dict[str, str | int | float]:
        """Columns of `networks.csv`."""
        spec, made = self.run.spec, self.run.made
        transform, deep = spec.transform, spec.perceptron
        return {
            "data": MOCK_MARK,
            "experiments": "; ".join(self.experiments),
            "suite": spec.suite,
            "seed": spec.seed,
            "inputs": spec.inputs,
            "labels": spec.labels,
            "transform": "none" if transform.kind == "none" else f"{transform.kind} {transform.scale:g}",
            "hidden": spec.network.hidden if spec.inputs == "maps" else f"{deep.n_layers} x {deep.n_neurons}",
            "batch": spec.batch_size,
            "steps": int(self.run.history["step"][-1]),
            "parameters": self.run.n_parameters,
            "validation_loss": self.run.validation_loss,
            "seconds": self.seconds,
            **{topic: made.get(topic, "") for topic in ("hardware", "date", "commit", "PyTorch")},
            "weights_sha256": self.run.weights_sha256,
        }


@dataclass(frozen=True)
class FinishedLetter:
    """A complete letter on mock suites.

    Attributes:
        folder: output folder.
        document: contents of `metrics.json`.
        spec: of the letter.
        networks: all that it trained, in the order of its experiments.
        searches: for hyper-parameters.
        data: what is recorded beside the maps, by suite and set.
        is_given: whether the maps were there before the letter.
    """

    folder: Path
    document: Document
    spec: LetterSpec
    networks: Sequence[UsedNetwork]
    searches: Searches
    data: Mapping[str, Any]
    is_given: bool

    @property
    def suites(self) -> tuple[str, ...]:
        """Those that are compared."""
        return compared_suites(self.document)

    @property
    def figures(self) -> list[str]:
        """Figures of the report, without their PDFs."""
        return [name for name in self.document["figures"] if name.endswith(".png")]


def compared_suites(document: Document) -> tuple[str, ...]:
    """The suites that a letter compares."""
    return tuple(document["weights"])


def read_letter(folder: Path, data: Path | None) -> FinishedLetter:
    """Everything that is kept of a letter, checked.

    Raises:
        UserError: not finished, of another version, not on mock suites, or a file is missing or damaged.
    """
    document = read_document(folder)
    refuse_damaged(folder, document)
    spec = from_json(LetterSpec, json.dumps(document["spec"]), str(folder / "metrics.json"))
    store = Store(folder / "runs")
    with recorded_suites(document, spec.train) as suites:
        compared = compared_suites(document)
        directory = suites[compared[0], spec.train.set_name].directory
        wanted = searches(spec, experiments(spec, compared, directory))
        found = finished_searches(store, wanted, suites)
        plan = experiments(spec, compared, directory, found_by(found))
        networks = used_networks(store, plan, suites)
        names = {f"{each}_{set_name}" for name, set_name in suites for each in (name, label_suite(name))}
    recorded = data_provenance(folder, data)
    kept = {name: recorded[name] for name in recorded if name in names}
    return FinishedLetter(folder, document, spec, networks, found, kept, data is not None)


def read_document(folder: Path) -> dict[str, Any]:
    """Contents of `metrics.json`, which a letter writes last.

    Raises:
        UserError: there is none, or another version wrote it, or a file that it names is missing.
    """
    path, remedy = folder / "metrics.json", "give the command of the letter again, which finishes it"
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        key, version = document["key"], document.get("format")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}, the letter is not finished; {remedy}") from None
    except (ValueError, LookupError, TypeError, AttributeError):
        raise UserError(f"{path}: damaged; {remedy}") from None
    if version != FORMAT:
        raise UserError(f"{path}: written by another version of fieldlevel; {remedy}")
    if read_finished(folder, key) is None:
        raise UserError(f"{folder}: a report, a figure or predictions.csv is missing; {remedy}")
    if document["data_mark"] != MOCK_MARK:
        raise UserError(f"{folder}: not on mock suites; keep what you need of it by hand")
    return document


def refuse_damaged(folder: Path, document: Document) -> None:
    """Refuse files that do not belong together.

    Raises:
        UserError: a figure is not that of the page, a link leads nowhere, or predictions are missing.
    """
    remedy = "delete metrics.json and give the command of the letter again"
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    for name in document["figures"]:
        if name.endswith(".png") and f'base64,{base64.b64encode((folder / name).read_bytes()).decode()}"' not in page:
            raise UserError(f"{folder / name}: not the figure of report.html, one of them is damaged; {remedy}")
    for name in set(LINK.findall(text)) - set(document["figures"]):
        raise UserError(f"{folder / 'report.md'}: links to {name}, which is no figure of the letter; {remedy}")
    n_rows = len((folder / "predictions.csv").read_text().splitlines()) - 1
    n_maps = sum(pair["n_maps"] for pairs in document["experiments"].values() for pair in pairs)
    if n_rows != n_maps:
        raise UserError(f"{folder / 'predictions.csv'}: {n_rows} predictions of {n_maps}; {remedy}")


@contextmanager
def recorded_suites(document: Document, train: TrainSpec) -> Iterator[dict[SetKey, Suite]]:
    """The suites by name and set with the fingerprints that the letter met; empty files stand for their maps."""
    facts = {name.removeprefix(MARK): fact for name, fact in document["data_facts"].items() if name.startswith(MARK)}
    layout = layout_from_json(document.get("layout", {}), "layout")
    nothing = np.empty((0, 0, 0), np.float32), np.empty((0, layout.n_parameters))
    with TemporaryDirectory() as folder:
        suites = {}
        for words, fingerprint in facts.items():
            name, _, other_set = words.partition(" ")
            key = name, other_set or train.set_name
            SuiteFiles(Path(folder), name, train.field, key[1]).maps_path.touch()
            suites[key] = Suite(Path(folder), name, train.field, key[1], *nothing, layout=layout)
            vars(suites[key])["fingerprint"], _, pixels = fingerprint.partition(" ")  # cached properties
            vars(suites[key])["pixel_fingerprint"] = pixels or fingerprint
        yield suites


def finished_searches(store: Store, wanted: Mapping[tuple[str, str], TuneSpec], suites: Suites) -> Searches:
    """What the searches of a letter found.

    Raises:
        UserError: one is missing or damaged.
    """
    for search in wanted.values():
        if not (folder := search_folder(store, search, suites)).exists():
            raise UserError(f"{folder}: missing; give the command of the letter again, which makes it")
    return search_missing(store, wanted, suites, [torch.device("cpu")])


def used_networks(store: Store, plan: Plan, suites: Suites) -> list[UsedNetwork]:
    """The networks that some experiments need, each once.

    Raises:
        UserError: one is missing or damaged.
    """
    users: dict[TrainSpec, dict[str, None]] = {}
    for key, tests in plan.items():
        for test in tests:
            users.setdefault(test.network, {})[key.label] = None
    for spec in users:
        if not (run := weights_of(store, spec, suites).parent).exists():
            raise UserError(f"{run}: missing; give the command of the letter again, which trains it")
    return [UsedNetwork(tuple(names), trained_network(store, spec, suites)) for spec, names in users.items()]


def data_provenance(folder: Path, data: Path | None) -> dict[str, Any]:
    """What was recorded beside the maps when they were simulated.

    Raises:
        UserError: it is not to be found.
    """
    found = [data / "provenance.json"] if data is not None else sorted(folder.glob("data/*/provenance.json"))
    if len(found) != 1:
        raise UserError(f"{folder / 'data'}: {len(found)} folders of maps; name the one of this letter with --data")
    try:
        provenance: dict[str, Any] = json.loads(found[0].read_text())
    except (OSError, ValueError):
        raise UserError(f"{found[0]}: missing or damaged; name the folder of the maps with --data") from None
    return provenance
