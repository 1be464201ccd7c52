"""What of a finished letter on mock suites belongs in a repository: a small folder without maps, weights and PDFs.

    fieldlevel letter --scale letter
    python benchmarks/letter_results.py letter-output --out results/letter-mock

The folder holds the report with its figures, all measures, all predictions, where they come from, and what each network
took. It is made aside and takes its name when it is whole; an unfinished or damaged letter is refused. The letter's
maps are not read and may be gone, but not the `provenance.json` beside them.
"""

import base64
import csv
import gzip
import hashlib
import io
import json
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from letter_details import averaged_over_seeds, read_pairs
from measuring import run

from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.data.suite import Suite
from fieldlevel.errors import UserError
from fieldlevel.files import write_bytes, write_text
from fieldlevel.parameters import COSMOLOGICAL_NAMES, MOCK_MARK, hydro_twin, nbody_twin
from fieldlevel.report import FORMAT, MAIN_METRICS, read_finished
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.spec_io import from_json
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import METRICS, evaluate, scores_from_json
from fieldlevel.study import plan as letter
from fieldlevel.study.jobs import (
    NetworkRun,
    Searches,
    Suites,
    found_by,
    search_folder,
    search_missing,
    trained_network,
    weights_of,
)
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.scales import SCALES
from fieldlevel.study.store import Store
from fieldlevel.training.train_spec import TrainSpec

COPIED = ("report.html", "report.md", "metrics.json")
MADE = {*COPIED, "figures", "predictions.csv.gz", "networks.csv", "provenance.json", "README.md"}
"""Everything in the folder; one that holds anything else is not replaced."""

SHOWN_FIGURE = "figures/fig2_four_pairs.png"
LINK = re.compile(r"\]\((?!https?:)([^)]+)\)")
"""To a file beside a Markdown page."""

MARK = "fingerprint of "
"""Of the facts that name the data of a suite."""

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Arguments:
    """Gather what of a finished letter is committed."""

    letter: Annotated[Path, tyro.conf.Positional]
    """Output folder of `fieldlevel letter`."""
    out: Path = Path("results/letter-mock")
    name_of_run: str = "the letter on two mock suites"
    """Heading of the README."""
    data: Path | None = None
    """Folder of the maps, where `fieldlevel letter` was given one."""


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
            "weights_sha256": hashlib.sha256(self.run.weights.read_bytes()).hexdigest(),
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
    def pair(self) -> tuple[str, str]:
        """The two suites that are compared."""
        return pair_of(self.document)

    @property
    def figures(self) -> list[str]:
        """Figures of the report, without their PDFs."""
        return [name for name in self.document["figures"] if name.endswith(".png")]


def pair_of(document: Document) -> tuple[str, str]:
    """The two suites of a letter."""
    first, second = document["weights"]
    return first, second


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
        directory = suites[pair_of(document)[0]].directory
        wanted = letter.searches(spec, letter.experiments(spec, pair_of(document), directory))
        searches = finished_searches(store, wanted, suites)
        plan = letter.experiments(spec, pair_of(document), directory, found_by(searches))
        networks = used_networks(store, plan, suites)
        names = {f"{hydro_twin(name)}_{spec.train.set_name}" for name in suites}
    recorded = data_provenance(folder, data)
    kept = {name: recorded[name] for name in recorded if name in names}
    return FinishedLetter(folder, document, spec, networks, searches, kept, data is not None)


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
def recorded_suites(document: Document, train: TrainSpec) -> Iterator[dict[str, Suite]]:
    """The suites by name with the fingerprints that the letter met; empty files bear the names of their maps."""
    facts = {name.removeprefix(MARK): fact for name, fact in document["data_facts"].items() if name.startswith(MARK)}
    nothing = np.empty((0, 0, 0), np.float32), np.empty((0, 6))
    with TemporaryDirectory() as folder:
        suites = {}
        for name, fingerprint in facts.items():
            SuiteFiles(Path(folder), name, train.field, train.set_name).maps_path.touch()
            suites[name] = Suite(Path(folder), name, train.field, train.set_name, *nothing)
            vars(suites[name])["fingerprint"] = fingerprint  # a cached property
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


def used_networks(store: Store, plan: Mapping[str, letter.Tests], suites: Suites) -> list[UsedNetwork]:
    """The networks that some experiments need, each once.

    Raises:
        UserError: one is missing or damaged.
    """
    experiments: dict[TrainSpec, dict[str, None]] = {}
    for name, tests in plan.items():
        for test in tests:
            experiments.setdefault(test.network, {})[name] = None
    for spec in experiments:
        if not (weights := weights_of(store, spec, suites)).exists():
            raise UserError(f"{weights}: missing; give the command of the letter again, which trains it")
    return [UsedNetwork(tuple(names), trained_network(store, spec, suites)) for spec, names in experiments.items()]


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


def letter_command(spec: LetterSpec, is_given: bool) -> list[str]:
    """The shortest `fieldlevel` command for a spec: the nearest scale and every flag that differs from it."""
    return min((_from_scale(spec, scale, is_given) for scale in SCALES), key=len)


def _from_scale(spec: LetterSpec, scale: str, is_given: bool) -> list[str]:
    preset, words = dict(_leaves(asdict(SCALES[scale]()))), ["letter", "--scale", scale]
    if is_given:
        words += ["--data", "mock-data"]
    for path, value in _leaves(asdict(spec)):
        if value != preset[path] and not (is_given and path.startswith("simulate.")):
            flag = re.sub(r"set_name$", "set", path).replace("_", "-")
            words += [f"--{flag}", *map(str, value if isinstance(value, tuple) else [value])]
    return words


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def eight_networks(networks: Sequence[UsedNetwork], pair: tuple[str, str]) -> dict[str, UsedNetwork | None]:
    """The letter's eight networks by what they are for; None for those that were not trained.

    One for each suite; for the first suite one on gravity-only maps, three on maps smoothed by 1, 2 and 3 pixels, one
    on power spectra, and a repeat with a second seed.
    """
    by_use = {(use, net.run.spec.suite, net.run.spec.seed): net for net in networks for use in net.experiments}
    first, other = pair
    seed = min(network.run.spec.seed for network in networks)
    uses = {
        first: (letter.FIRST, first, seed),
        other: (letter.FIRST, other, seed),
        "gravity-only maps": ("N-body to hydro", nbody_twin(first), seed),
        **{f"smoothing {scale} px": (f"smoothing {scale} px", first, seed) for scale in (1, 2, 3)},
        "power spectrum": ("power spectrum", first, seed),
        "repeat with a second seed": (letter.FIRST, first, seed + 1),
    }
    return {name: by_use.get(use) for name, use in uses.items()}


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Header, rule and rows."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))


def pair_name(pair: Mapping[str, Any]) -> str:
    """As in the report."""
    return f"{pair['train_suite']} → {pair['test_suite']}"


def pair_table(document: Document) -> str:
    """The four pairs with the first seed; errors by bootstrap over the test simulations."""
    rows = []
    for pair in document["pairs"]:
        scores, ratios = scores_from_json(pair["scores"]), document["transfer_ratio_rmse"].get(pair_name(pair), {})
        for name in COSMOLOGICAL_NAMES:
            measures = [scores[name][key].text(METRICS[key].percent) for key in MAIN_METRICS]
            ratio = Estimate.from_json(ratios[name]).text() if name in ratios else "–"
            rows.append([pair_name(pair), name, *measures, ratio])
    labels = [METRICS[key].label for key in MAIN_METRICS]
    return markdown_table(["trained → tested", "parameter", *labels, "RMSE over that on the own suite"], rows)


def scatter(values: Sequence[float], percent: bool = False) -> str:
    """Mean and standard deviation."""
    return Estimate(mean(values), stdev(values), np.nan, np.nan).text(percent)


def errors_of_means(predictions: Path) -> dict[tuple[str, str, str], float]:
    """Rms relative error of the average, over the seeds of the four pairs, of what the networks say of a map.

    Args:
        predictions: `predictions.csv` of a letter.

    Returns:
        By trained suite, tested suite and parameter. What it lies below the error of one seed is scatter of training;
        the rest is what more seeds would not remove.
    """
    averages = {pair: evaluate(averaged_over_seeds(seeds)) for pair, seeds in read_pairs(predictions).items()}
    return {
        (trained, tested, name): scores[name]["rms_relative_error"].value
        for (_, trained, tested), scores in averages.items()
        for name in COSMOLOGICAL_NAMES
    }


def seed_table(document: Document, of_means: Mapping[tuple[str, str, str], float]) -> str:
    """Mean and scatter over the seeds of the four pairs, and `errors_of_means`; empty where there is one seed."""
    tests: dict[tuple[str, str], dict[int, Any]] = {}
    for pair in document["experiments"][letter.FIRST]:
        tests.setdefault((pair["train_suite"], pair["test_suite"]), {})[pair["seed"]] = pair
    rows = []
    for (trained, tested), of_seed in tests.items():
        for name in COSMOLOGICAL_NAMES if len(of_seed) > 1 else ():
            scores = {seed: scores_from_json(pair["scores"])[name] for seed, pair in of_seed.items()}
            own = {seed: scores_from_json(tests[trained, trained][seed]["scores"])[name] for seed in of_seed}
            ratios = [scores[seed]["rmse"].value / own[seed]["rmse"].value for seed in of_seed]
            errors = scatter([row["rms_relative_error"].value for row in scores.values()], percent=True)
            words = scatter(ratios) if trained != tested else "–"
            together = f"{of_means[trained, tested, name]:.2%}"
            rows.append([f"{trained} → {tested}", name, str(len(of_seed)), errors, together, words])
    measures = ["rms relative error", "of the seeds' average", "RMSE over that on the own suite"]
    header = ["trained → tested", "parameter", "seeds", *measures]
    return markdown_table(header, rows) if rows else ""


def network_table(networks: Sequence[UsedNetwork]) -> str:
    """What each network took."""
    header = ["experiments", "suite", "seed", "hidden", "steps", "parameters", "validation loss", "seconds", "hardware"]
    formats = {"validation loss": "{:.2f}", "seconds": "{:.1f}"}
    rows = []
    for network in networks:
        cells = network.row()
        rows.append([formats.get(name, "{}").format(cells[name.replace(" ", "_")]) for name in header])
    return markdown_table(header, rows)


def total_words(networks: Sequence[UsedNetwork], pair: tuple[str, str]) -> str:
    """Seconds of all networks and of the letter's eight."""
    eight = eight_networks(networks, pair)
    there = [network for network in eight.values() if network is not None]
    missing = [name for name, network in eight.items() if network is None]
    lack = f"; not trained: {', '.join(missing)}" if missing else ""
    return f"""* all {len(networks)} networks: {sum(network.seconds for network in networks):.1f} s
* {len(there)} of the eight networks of the letter: {sum(network.seconds for network in there):.1f} s{lack}

The eight are one network for {pair[0]}, one for {pair[1]}, and for {pair[0]} one on its gravity-only twin, three on
maps smoothed by 1, 2 and 3 pixels, one on power spectra and a repeat with a second seed."""


def figure_words(report: str, name: str) -> str:
    """A figure of the Markdown report with its caption."""
    blocks = report.split("\n\n")
    place = next(i for i, block in enumerate(blocks) if f"]({name})" in block)
    return "\n\n".join(blocks[place : place + 2]).strip()


def data_words(finished: FinishedLetter) -> str:
    """How the maps were made, a line a suite."""
    lines = []
    for name, made in finished.data.items():
        runs = made["runs"]
        seconds, places = sum(run["seconds"] for run in runs), dict.fromkeys(run["hardware"] for run in runs)
        n_simulations = sum(run["simulations"] for run in runs)
        lines.append(f"* {name}: {n_simulations} simulations in {seconds:.1f} s on {', '.join(places)}")
    return "\n".join(lines)


def search_words(searches: Searches) -> str:
    """What the searches took, which the totals leave out."""
    each = []
    for (inputs, suite), search in searches.items():
        seconds = sum(float(trial["seconds"] or 0) for trial in search.trials)
        each.append(f"{inputs} of {suite} {seconds:.1f} s for {len(search.trials)} trials")
    return f"\n\nSearches for hyper-parameters are not in these sums: {', '.join(each)}." if each else ""


def made_words(made: Mapping[str, str]) -> str:
    """Hardware and commit."""
    return f"{made['hardware']} (commit {made.get('commit', 'unknown')})"


def readme(finished: FinishedLetter, arguments: Arguments) -> str:
    """The page of the folder."""
    document, run = finished.document, finished.document["provenance"]
    seeds = seed_table(document, errors_of_means(finished.folder / "predictions.csv"))
    trained = ", ".join(dict.fromkeys(made_words(network.run.made) for network in finished.networks))
    command = shlex.join(["fieldlevel", *letter_command(finished.spec, finished.is_given)])
    facts = "\n".join(f"* {name}: {fact}" for name, fact in document["data_facts"].items() if MARK not in name)
    out = arguments.out if not arguments.out.is_absolute() else Path(arguments.out.name)
    over_seeds = f"\nMean ± standard deviation over the training seeds:\n\n{seeds}\n" if seeds else ""
    return f"""# {MOCK_MARK}: {arguments.name_of_run}

{MOCK_MARK}: the maps were simulated by this package with simple stand-ins for the CAMELS suites; no number here is a
result about CAMELS. Made by

```
{command}
python benchmarks/letter_results.py letter-output --out {out.as_posix()}
```

Report and measures: fieldlevel {run["fieldlevel"]} on {made_words(run)}, PyTorch {run["PyTorch"]}, {run["date"]}.
Networks were trained on {trained}. The maps:

{data_words(finished)}

{facts}

## The four pairs

± is the bootstrap error over test simulations, with the networks held fixed.

{pair_table(document)}
{over_seeds}
{figure_words((finished.folder / "report.md").read_text(), SHOWN_FIGURE)}

## What each network took

Seconds from the first step of each network to the fit of its head, interruptions left out. Several may have run side by
side, so that the sums are not the time on the clock.

{network_table(finished.networks)}

{total_words(finished.networks, finished.pair)}{search_words(finished.searches)}

## Files

* `report.html`: the whole report on one page; `report.md` and `figures/`: the same as Markdown.
* `metrics.json`: every measure of every experiment with its errors, verdicts and settings; paths under `runs/` in it
  lead to the weights, which are not here.
* `predictions.csv.gz`: truth, posterior mean and standard deviation of every tested map of every experiment.
* `networks.csv`: the table above with losses in full, dates, commits and the SHA-256 of the weights.
* `provenance.json`: software, hardware, commit and date of the maps and of the run, and the spec of the letter.

Not here: the maps, the weights of the networks, their histories step by step, the single trials of the searches, the
figures as PDF. The first command makes them again.
"""


def networks_csv(networks: Sequence[UsedNetwork]) -> str:
    """A row for each network."""
    rows, text = [network.row() for network in networks], io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def provenance(finished: FinishedLetter) -> dict[str, Any]:
    """Where everything comes from."""
    document = finished.document
    return {
        "data_mark": MOCK_MARK,
        "command": shlex.join(["fieldlevel", *letter_command(finished.spec, finished.is_given)]),
        "key": document["key"],
        "run": document["provenance"],
        "data": {"facts": document["data_facts"], "simulations": finished.data},
        "spec": document["spec"],
    }


def gather(finished: FinishedLetter, folder: Path, arguments: Arguments) -> None:
    """Fill an empty folder."""
    (folder / "figures").mkdir()
    for name in (*COPIED, *finished.figures):
        shutil.copyfile(finished.folder / name, folder / name)
    predictions = (finished.folder / "predictions.csv").read_bytes()
    write_bytes(folder / "predictions.csv.gz", gzip.compress(predictions, mtime=0))
    write_text(folder / "networks.csv", networks_csv(finished.networks))
    write_text(folder / "provenance.json", json.dumps(provenance(finished), indent=2) + "\n")
    write_text(folder / "README.md", readme(finished, arguments))


@contextmanager
def replaced_whole(out: Path) -> Iterator[Path]:
    """Give an empty folder beside `out` that takes its place on leaving without an error.

    Raises:
        UserError: `out` is a file, or holds what this script did not make.
    """
    strange = sorted({path.name for path in out.iterdir()} - MADE) if out.is_dir() else []
    if strange or (out.exists() and not out.is_dir()):
        held = f"holds {strange[0]}, which was not made here" if strange else "is a file"
        raise UserError(f"{out}: {held}; name another folder with --out")
    aside, before = (out.with_name(f".{state}.{out.name}") for state in ("part", "before"))
    for path in (aside, before):
        shutil.rmtree(path, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        if out.exists():
            out.rename(before)
        aside.rename(out)
    finally:
        for path in (aside, before):
            shutil.rmtree(path, ignore_errors=True)


def main() -> None:
    """Read the letter, write the folder, print the sizes."""
    arguments = tyro.cli(Arguments)
    finished = read_letter(arguments.letter, arguments.data)
    with replaced_whole(arguments.out) as folder:
        gather(finished, folder, arguments)
    files = sorted(path for path in arguments.out.rglob("*") if path.is_file())
    for path in files:
        print(f"{path.stat().st_size / 1e3:10.1f} kB  {path.relative_to(arguments.out)}")
    print(f"{sum(path.stat().st_size for path in files) / 1e3:10.1f} kB  {arguments.out}")


if __name__ == "__main__":
    run(main)
