"""The report of a letter: one HTML page that needs nothing else, the same as Markdown, and all numbers as plain JSON.

Every sentence about what was found is computed from the measured numbers and their errors.
"""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from fieldlevel.errors import UserError
from fieldlevel.figures import save_figure
from fieldlevel.figures.plates import letter_plates
from fieldlevel.files import make_folder, read_bytes, read_text, starts_with, write_text
from fieldlevel.json_files import holds_json, holds_keys, read_json_object, write_json
from fieldlevel.locks import refuse_foreign
from fieldlevel.parameters import COSMOLOGICAL_NAMES, MOCK_MARK, PARAMETER_NAMES, is_mock
from fieldlevel.spec_io import from_json, to_json
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import METRICS, Scores, scores_to_json
from fieldlevel.statistics.pairs import PairResult, write_predictions
from fieldlevel.statistics.ratios import TransferRatios
from fieldlevel.study.jobs import SearchRun
from fieldlevel.study.published_accuracies import BIBTEX, SOURCE, SOURCE_URL, published_accuracies
from fieldlevel.study.runner import LetterRun, first_seed
from fieldlevel.study.verdicts import SIGNIFICANCE, Verdict, judge
from fieldlevel.training.train_spec import TrainSpec

Fact = str | int | float

MAIN_METRICS = ("mean_relative_std", "rms_relative_error", "r2", "reduced_chi2")
"""Measures of the main table; the tables of the pairs have them all."""

TITLE = "Robust marginalization of baryonic effects at the field level"

FORMAT = "2"
"""Of metrics.json: a finished letter of another format is written again."""

CONSTRAINED_R2 = 0.1
"""A parameter counts as constrained where R² is above this."""


_FIGURE = re.compile(r"figures/[A-Za-z0-9_.-]*[A-Za-z0-9_-]\.(pdf|png)")


@dataclass(frozen=True)
class ReportFigure:
    """A PNG to embed.

    Attributes:
        path: the PNG file.
        caption: what it shows, in sentences.
        description: the same for who cannot see it.
    """

    path: Path
    caption: str
    description: str


@dataclass(frozen=True)
class NetworkFacts:
    """What is worth knowing of a trained network.

    Attributes:
        experiment: the first that needs it.
        suite: that it was trained on.
        settings: sizes and hyper-parameters.
        n_parameters: trainable numbers.
        n_steps: optimiser steps.
        validation_loss: of the network as it predicts, mean over parameters.
        seconds: wall-clock time of training, validation and fitting the head again.
        made: when, on what and by which commit it was trained.
    """

    experiment: str
    suite: str
    settings: str
    n_parameters: int
    n_steps: int
    validation_loss: float
    seconds: float
    made: str = ""


@dataclass(frozen=True)
class SearchFacts:
    """What is worth knowing of a search for hyper-parameters.

    Attributes:
        inputs: what the networks read.
        suite: that they were trained on.
        n_trials: trials by how they ended.
        validation_loss: of the best trial.
        found: hyper-parameters of the best trial.
    """

    inputs: str
    suite: str
    n_trials: Mapping[str, int]
    validation_loss: float
    found: Mapping[str, float]

    @property
    def trials_text(self) -> str:
        """How many trials there were, and how they ended."""
        ends = ", ".join(f"{n} {state}" for state, n in self.n_trials.items())
        return f"{sum(self.n_trials.values())} ({ends})"

    @property
    def found_text(self) -> str:
        """The hyper-parameters with their names."""
        return ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in self.found.items())


@dataclass(frozen=True)
class LetterResults:
    """Everything that the report of the four pairs tells.

    Attributes:
        title: heading of the page.
        pairs: every tested pair of suites, in the order of the tables.
        transfer: error over that on the network's own suite, of every pair that crosses suites.
        figures: what to embed, by heading.
        data: where the maps come from, their fingerprints, the split and its seed.
        networks: facts of every trained network with the first seed.
        provenance: commit, version, hardware, date.
        is_mock: whether any map was simulated by this package.
        experiments: every tested network by experiment.
        mean_only: the predictor that knows the mean of a map alone, by suite.
        verdicts: what each experiment claims and what became of it.
        searches: for hyper-parameters.
        spec: of the letter, in plain JSON types.

    Raises:
        ValueError: mock suites that are not declared as mock.
    """

    title: str
    pairs: tuple[PairResult, ...]
    transfer: TransferRatios
    figures: Mapping[str, ReportFigure]
    data: Mapping[str, Fact]
    networks: Sequence[NetworkFacts]
    provenance: Mapping[str, Fact]
    is_mock: bool
    experiments: Mapping[str, Sequence[PairResult]] = field(default_factory=dict)
    mean_only: Mapping[str, Scores] = field(default_factory=dict)
    verdicts: Sequence[Verdict] = ()
    searches: Sequence[SearchFacts] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def others(self) -> dict[str, Sequence[PairResult]]:
        """The experiments beyond the four pairs, first seed."""
        return {name: first_seed(results) for name, results in self.experiments.items() if name != "four pairs"}

    @property
    def spread(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Mean and standard deviation over the seeds of the rms relative error, by experiment, pair and parameter."""
        by_pair: dict[str, list[PairResult]] = {}
        for experiment, results in self.experiments.items():
            for result in results:
                by_pair.setdefault(f"{experiment}: {result.name}", []).append(result)
        return {
            pair: {name: _spread(results, name) for name in COSMOLOGICAL_NAMES}
            for pair, results in by_pair.items()
            if len(results) > 1
        }

    @property
    def n_seeds(self) -> int:
        """Networks for each of the four pairs."""
        return max((len({result.seed for result in results}) for results in self.experiments.values()), default=1)

    def __post_init__(self) -> None:
        mock = sorted({s for pair in self.pairs for s in (pair.train_suite, pair.test_suite) if is_mock(s)})
        if mock and not self.is_mock:
            raise ValueError(f"results on {', '.join(mock)} must be declared as mock")


def write_report(path: Path, results: LetterResults) -> None:
    """Render the results as one self-contained HTML page, which reads nothing from the network, and as Markdown.

    Args:
        path: HTML file to write; the Markdown file beside it has the suffix .md.
        results: what to tell.

    Raises:
        UserError: a figure that cannot be read.
    """
    environment = Environment(
        loader=PackageLoader("fieldlevel"),
        autoescape=select_autoescape(["html.jinja", "md.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"typeset": typeset, "data_uri": _data_uri}
    words = {
        "results": results,
        "mark": MOCK_MARK if results.is_mock else "",
        "summary": summarise(results),
        "proven": list(_findings(results)),
        "open_questions": list(_open_questions(results)),
        "metrics": METRICS,
        "main_metrics": [METRICS[key] for key in MAIN_METRICS],
        "parameters": PARAMETER_NAMES,
        "cosmological": COSMOLOGICAL_NAMES,
        "published": published_accuracies,
        "source": SOURCE,
        "source_url": SOURCE_URL,
        "bibtex": BIBTEX,
        "folder": path.parent,
    }
    write_text(path, environment.get_template("report.html.jinja").render(words))
    markdown = environment.get_template("report.md.jinja").render(words)
    for escaped, plain in (("&#34;", '"'), ("&#39;", "'"), ("&gt;", ">")):  # which make no HTML without a `<`
        markdown = markdown.replace(escaped, plain)
    write_text(path.with_suffix(".md"), markdown)


def _spread(results: Sequence[PairResult], name: str) -> tuple[float, float]:
    values = np.array([result.scores[name]["rms_relative_error"].value for result in results])
    return float(values.mean()), float(values.std(ddof=1))


def metrics_document(results: LetterResults) -> dict[str, Any]:
    """All numbers of the report in plain JSON types, with the definition of each measure and the origin of the data."""
    return {
        "title": results.title,
        "data": MOCK_MARK if results.is_mock else "CMD files",
        "data_mark": MOCK_MARK if results.is_mock else "",
        "data_facts": dict(results.data),
        "provenance": dict(results.provenance),
        "definitions": {metric.key: metric.definition for metric in METRICS.values()},
        "pairs": [_pair_document(pair) for pair in results.pairs],
        "experiments": {name: [_pair_document(pair) for pair in pairs] for name, pairs in results.experiments.items()},
        "mean_only": {suite: scores_to_json(scores) for suite, scores in results.mean_only.items()},
        "verdicts": [asdict(verdict) for verdict in results.verdicts],
        "transfer_ratio_rmse": {
            pair: {name: estimate.to_json() for name, estimate in row.items()} for pair, row in results.transfer.items()
        },
        "spec": dict(results.spec),
        "networks": [asdict(facts) for facts in results.networks],
        "searches": [asdict(facts) for facts in results.searches],
        "letter": {"source": SOURCE, "url": SOURCE_URL},
    }


def _pair_document(pair: PairResult) -> dict[str, Any]:
    published = published_accuracies(pair.train_suite, pair.test_suite)
    return {
        "train_suite": pair.train_suite,
        "test_suite": pair.test_suite,
        "seed": pair.seed,
        "n_simulations": pair.predictions.n_simulations,
        "n_maps": pair.predictions.n_maps,
        "scores": scores_to_json(pair.scores),
        "letter": {name: accuracy.text for name, accuracy in published.items()},
    }


def typeset(text: str) -> Markup:
    """Escape a text for HTML and set the names of the parameters as symbols.

    Example:
        >>> typeset("R² of Omega_m > 0.9")
        Markup('R² of Ω<sub>m</sub> &gt; 0.9')
    """
    html = str(escape(text))
    if PARAMETER_NAMES:
        names = "|".join(map(re.escape, sorted(PARAMETER_NAMES, key=len, reverse=True)))
        html = re.sub(rf"(?<![A-Za-z0-9_])(?:{names})(?![A-Za-z0-9_])", lambda found: _symbol(found[0]), html)
    return Markup(html.replace(" ± ", "&nbsp;±&nbsp;"))


def _symbol(name: str) -> str:
    """What stands before the first underscore with the rest as its index."""
    letter, _, index = name.partition("_")
    symbol = {"Omega": "Ω", "sigma": "σ"}.get(letter, f"<i>{letter}</i>")
    return f"{symbol}<sub>{index}</sub>" if index else symbol


def _data_uri(path: Path) -> str:
    try:
        content = read_bytes(path, "draw the figures first")
    except UserError as error:
        raise UserError(str(error).replace(f"{path}: ", f"{path}: figure ", 1)) from None
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"


def summarise(results: LetterResults) -> list[str]:
    """What was done and what came out, a sentence each."""
    return [_pair_sentence(pair) for pair in results.pairs]


def _pair_sentence(pair: PairResult) -> str:
    where = f"on {pair.test_suite}, which it had never seen" if pair.crosses_suites else "on unseen simulations of it"
    accuracies = " and ".join(f"{name} to {_percent(pair, name)}" for name in COSMOLOGICAL_NAMES)
    return f"Trained on {pair.train_suite} and tested {where}, the network infers {accuracies}."


def _percent(pair: PairResult, name: str) -> str:
    return pair.scores[name]["rms_relative_error"].text(percent=True)


def _findings(results: LetterResults) -> Iterator[str]:
    for pair in results.pairs:
        calibration = " ".join(_calibration_sentence(pair, name) for name in COSMOLOGICAL_NAMES)
        yield f"{pair.name}: {_constraint_sentence(pair)} {calibration}"
    for pair in results.pairs:
        if pair.name in results.transfer:
            ratios = results.transfer[pair.name]
            robustness = "; ".join(_transfer_clause(name, ratios[name]) for name in COSMOLOGICAL_NAMES)
            yield f"Trained on {pair.train_suite}: {robustness}."


def _constraint_sentence(pair: PairResult) -> str:
    r2 = {name: pair.scores[name]["r2"] for name in PARAMETER_NAMES}
    constrained = [f"{name} ({r2[name].text()})" for name in PARAMETER_NAMES if r2[name].value > CONSTRAINED_R2]
    lost = [name for name in PARAMETER_NAMES if not r2[name].value > CONSTRAINED_R2]
    found = f"R² is above {CONSTRAINED_R2} for {', '.join(constrained)}" if constrained else "nothing is constrained"
    return f"{found}; not constrained: {', '.join(lost)}." if constrained and lost else f"{found}."


def _calibration_sentence(pair: PairResult, name: str) -> str:
    chi2, bias = pair.scores[name]["reduced_chi2"], pair.scores[name]["bias"]
    shift = f"a mean bias of {bias.text()}" if _differs(bias, 0) else f"no bias beyond its error ({bias.text()})"
    return f"{name} has {shift}; its error bars are {_width(chi2)} (reduced χ² {chi2.text()})."


def _width(chi2: Estimate) -> str:
    if not _differs(chi2, 1):
        return "honest within the error"
    factor = np.sqrt(chi2.value)
    return f"too small by a factor {factor:.2f}" if factor > 1 else f"too large by a factor {1 / factor:.2f}"


def _transfer_clause(name: str, ratio: Estimate) -> str:
    if not _differs(ratio, 1):
        return f"the RMSE of {name} on the other suite equals that on the own one within the errors ({ratio.text()})"
    verb = "grows" if ratio.value > 1 else "shrinks"
    return f"the RMSE of {name} {verb} by a factor {ratio.text()} on the other suite"


def _differs(estimate: Estimate, ideal: float) -> bool:
    """Whether a number is significantly off its ideal; one without an error counts as off."""
    return not abs(estimate.value - ideal) <= SIGNIFICANCE * estimate.error


def _open_questions(results: LetterResults) -> Iterator[str]:
    if results.is_mock:
        yield (
            "The maps are mock data from a particle-mesh code with two toy baryon models. The numbers show that the "
            "method works from end to end; they say nothing about IllustrisTNG or SIMBA, and agreement with the letter "
            "is not expected."
        )
    fixed = "The errors come from resampling the test simulations with the networks held fixed"
    if results.n_seeds == 1:
        yield f"Each suite has one network. {fixed}; the scatter from one training seed to the next is not in them."
    else:
        yield f"{fixed}. Verdicts and figures are of the first of {results.n_seeds} seeds; the table of seeds has all."
    smallest = min(pair.predictions.n_simulations for pair in results.pairs)
    yield f"The smallest test set has {smallest} simulations; maps of one simulation count as one in every error."
    yield (
        "Two suites are two models of feedback. A network that holds on both may still fail on a third: robustness is "
        "measured here, not guaranteed."
    )


def write_letter(out: Path, run: LetterRun) -> dict[str, Any]:
    """Write figures, report.html, predictions.csv and, last, metrics.json.

    Args:
        out: output folder.
        run: what the four pairs gave.

    Returns:
        Contents of metrics.json.
    """
    refuse_foreign(out, OURS)
    _forget_letter(out)
    first = {name: first_seed(pairs) for name, pairs in run.experiments.items()}
    results = LetterResults(
        title=TITLE,
        pairs=run.pairs,
        transfer=run.transfer,
        figures=draw_letter(out / "figures", run),
        data=run.facts,
        networks=_network_facts(run),
        spec=json.loads(to_json(run.spec)),
        provenance=run.software,
        is_mock=run.is_mock,
        experiments=run.experiments,
        mean_only={suite: found.scores for suite, found in run.mean_only.items()},
        verdicts=judge(first, run.mean_only, run.transfer),
        searches=[_search_facts(*place, search) for place, search in run.searches.items()],
    )
    write_predictions(out / "predictions.csv", run.experiments)
    write_report(out / "report.html", results)
    weights = {suite: str(network.weights.relative_to(out)) for suite, network in run.networks.items()}
    pictures = [figure.path for figure in results.figures.values()]
    figures = [str(path.with_suffix(suffix).relative_to(out)) for path in pictures for suffix in (".pdf", ".png")]
    document = {
        "format": FORMAT,
        "key": run.data.key,
        "weights": weights,
        "figures": figures,
        **metrics_document(results),
    }
    write_json(out / "metrics.json", document)
    return document


def _forget_letter(out: Path) -> None:
    """Take away the figures of an earlier letter, which may have had others, and what says that it is finished."""
    for path in _figures(out, _read_document(out) or {}) or ():
        path.unlink(missing_ok=True)
    (out / "metrics.json").unlink(missing_ok=True)


def _figures(out: Path, document: Mapping[str, Any]) -> list[Path] | None:
    """Files of the figures that a document names; None if some are not in the folder of figures."""
    names = document.get("figures", [])
    if not isinstance(names, list) or not all(isinstance(name, str) and _FIGURE.fullmatch(name) for name in names):
        return None
    return [out / name for name in names]


def _network_facts(run: LetterRun) -> list[NetworkFacts]:
    known: dict[Path, NetworkFacts] = {}
    for experiment, networks in run.trained.items():
        for suite, network in networks.items():
            facts = NetworkFacts(
                experiment,
                suite,
                _settings(network.spec),
                network.n_parameters,
                int(network.history["step"][-1]),
                network.validation_loss,
                float(network.history["seconds"][-1]),
                made=", ".join(
                    network.made[topic] for topic in ("date", "hardware", "commit") if topic in network.made
                ),
            )
            known.setdefault(network.weights, facts)
    return list(known.values())


def _settings(spec: TrainSpec) -> str:
    """Sizes and hyper-parameters of a network in words."""
    deep, optimiser = spec.perceptron, spec.optimiser
    sizes = f"h = {spec.network.hidden}" if spec.inputs == "maps" else f"{deep.n_layers} x {deep.n_neurons} neurons"
    dropout = (spec.network if spec.inputs == "maps" else deep).dropout
    longest = optimiser.longest_gradient
    shortened = f", gradients no longer than {longest:.3g}" if longest is not None else ""
    return (
        f"{sizes}, dropout {dropout:.3g}, {optimiser.method}, learning rate {optimiser.learning_rate:.3g} "
        f"({optimiser.schedule}), weight decay {optimiser.weight_decay:.3g}, batch {spec.batch_size}{shortened}"
    )


def _search_facts(inputs: str, suite: str, search: SearchRun) -> SearchFacts:
    best = search.best_trial
    n_trials = dict(Counter(trial["state"] for trial in search.trials))
    found = {name: float(best[name]) for name in search.hyper_parameters}
    return SearchFacts(inputs, suite, n_trials, float(best["value"]), found)


def draw_letter(folder: Path, run: LetterRun) -> dict[str, ReportFigure]:
    """Draw and save all figures as PDF and PNG.

    Args:
        folder: where to save them; made if need be.
        run: what the experiments gave.

    Returns:
        What the report embeds, by heading.
    """
    make_folder(folder)
    return {
        plate.heading: ReportFigure(save_figure(plate.draw(), folder / plate.stem)[1], plate.caption, plate.description)
        for plate in letter_plates(run)
    }


def read_finished(out: Path, key: str) -> dict[str, Any] | None:
    """Contents of metrics.json if the folder holds a finished letter of this key with all its files, else None.

    Args:
        out: output folder.
        key: digest of spec and data.
    """
    document = _read_document(out)
    if document is None or (document.get("format"), document.get("key")) != (FORMAT, key):
        return None
    figures = _figures(out, document)
    if figures is None or not _is_whole(document):
        return None
    files = [*(out / name for name in ("report.html", "report.md", "predictions.csv")), *figures]
    return document if all(file.is_file() for file in files) else None


_LENIENT: dict[str, Any] = {"extra": "ignore", "allow_inf_nan": False}


@dataclass(frozen=True)
class _PairFacts:
    __pydantic_config__: ClassVar[dict[str, Any]] = _LENIENT

    train_suite: str
    test_suite: str
    scores: dict[str, dict[str, dict[str, float | Literal["inf", "-inf", "nan"]]]]


@dataclass(frozen=True)
class _VerdictFacts:
    __pydantic_config__: ClassVar[dict[str, Any]] = _LENIENT

    experiment: str
    outcome: str
    measured: str


@dataclass(frozen=True)
class _Document:
    """What is told of a finished letter."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _LENIENT

    data_mark: str
    pairs: list[_PairFacts]
    verdicts: list[_VerdictFacts]


def _is_whole(document: Mapping[str, Any]) -> bool:
    """Whether a document holds what is told of it; one that was changed is written again."""
    try:
        known = from_json(_Document, json.dumps(document))
    except (UserError, RecursionError):
        return False
    measured = [pair.scores.get(name, {}) for pair in known.pairs for name in COSMOLOGICAL_NAMES]
    return all({"value", "error"} <= scores.get(key, {}).keys() for scores in measured for key in MAIN_METRICS)


def _read_document(out: Path) -> dict[str, Any] | None:
    """Contents of metrics.json; None where there is none, or a damaged one."""
    try:
        return read_json_object(out / "metrics.json")
    except UserError:
        return None


def _is_document(path: Path) -> bool:
    """Whether it is a letter's; what is no JSON, as a power failure leaves it, is one beside the runs of a letter."""
    if holds_keys(path, "title", "data_mark", "pairs"):
        return True
    return path.is_file() and (path.parent / "runs").is_dir() and not holds_json(path)


def _is_page(path: Path) -> bool:
    return starts_with(path, "<!DOCTYPE html>") and TITLE in read_text(path)


def _is_markdown(path: Path) -> bool:
    return starts_with(path, f"# {TITLE}")


def _are_predictions(path: Path) -> bool:
    return starts_with(path, "data,experiment,train_suite,", "data,train_suite,")


OURS = {
    "metrics.json": _is_document,
    "report.html": _is_page,
    "report.md": _is_markdown,
    "predictions.csv": _are_predictions,
}
"""What a letter replaces, and how it is known."""
