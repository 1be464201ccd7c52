"""The report of the four pairs: one HTML page that needs nothing else, and the same numbers as plain JSON.

Every sentence about what was found is computed from the measured numbers and their errors.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from fieldlevel.errors import UserError
from fieldlevel.experiments.metrics import METRICS, Estimate, PairResult, scores_to_json, write_pairs
from fieldlevel.experiments.published import BIBTEX, SOURCE, SOURCE_URL, published_accuracies
from fieldlevel.experiments.runner import LetterRun, NetworkRun
from fieldlevel.figures import draw_four_pairs, draw_maps, draw_training_history, save_figure
from fieldlevel.files import write_text
from fieldlevel.parameters import MOCK_MARK, PARAMETER_NAMES, PARAMETERS, is_mock

Fact = str | int | float

MAIN_METRICS = ("mean_relative_std", "rms_relative_error", "r2", "reduced_chi2")
"""Measures of the main table; the tables of the pairs have them all."""

CONSTRAINED_R2 = 0.1
"""A parameter counts as constrained where R² is above this."""

SIGNIFICANCE = 2.0
"""Bootstrap errors by which a number must differ from its ideal value to be called different."""

COSMOLOGICAL = tuple(p.name for p in PARAMETERS if p.cosmological)


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
        n_parameters: trainable numbers.
        n_steps: optimiser steps.
        validation_loss: the lowest one, mean over parameters.
        seconds: wall-clock time of training.
        made: when, on what and by which commit it was trained.
    """

    n_parameters: int
    n_steps: int
    validation_loss: float
    seconds: float
    made: str = ""


@dataclass(frozen=True)
class LetterResults:
    """Everything that the report of the four pairs tells.

    Attributes:
        title: heading of the page.
        pairs: every tested pair of suites, in the order of the tables.
        transfer: error on the other suite over error on the own suite, by training suite and parameter.
        figures: what to embed, by heading.
        data: where the maps come from, their fingerprints, the split and its seed.
        networks: facts of the network of each training suite.
        provenance: commit, version, hardware, date.
        is_mock: whether any map was simulated by this package.
        nbody: each network on the gravity-only twin of its own test simulations.

    Raises:
        ValueError: mock suites that are not declared as mock.
    """

    title: str
    pairs: tuple[PairResult, ...]
    transfer: Mapping[str, Mapping[str, Estimate]]
    figures: Mapping[str, ReportFigure]
    data: Mapping[str, Fact]
    networks: Mapping[str, NetworkFacts]
    provenance: Mapping[str, Fact]
    is_mock: bool
    nbody: tuple[PairResult, ...] = ()

    def __post_init__(self) -> None:
        mock = sorted({s for pair in self.pairs for s in (pair.train_suite, pair.test_suite) if is_mock(s)})
        if mock and not self.is_mock:
            raise ValueError(f"results on {', '.join(mock)} must be declared as mock")


def write_report(path: Path, results: LetterResults) -> None:
    """Render the results as one self-contained HTML page, which reads nothing from the network.

    Args:
        path: HTML file to write.
        results: what to tell.

    Raises:
        UserError: a figure that cannot be read.
    """
    environment = Environment(
        loader=PackageLoader("fieldlevel"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"typeset": typeset, "data_uri": _data_uri}
    page = environment.get_template("report.html.jinja").render(
        results=results,
        mark=MOCK_MARK if results.is_mock else "",
        summary=summarise(results),
        proven=list(_findings(results)),
        open_questions=list(_open_questions(results)),
        metrics=METRICS,
        main_metrics=[METRICS[key] for key in MAIN_METRICS],
        parameters=PARAMETER_NAMES,
        cosmological=COSMOLOGICAL,
        published=published_accuracies,
        source=SOURCE,
        source_url=SOURCE_URL,
        bibtex=BIBTEX,
    )
    write_text(path, page)


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
        "nbody": [_pair_document(pair) for pair in results.nbody],
        "transfer_ratio_rmse": {
            suite: {name: estimate.to_json() for name, estimate in row.items()}
            for suite, row in results.transfer.items()
        },
        "networks": {suite: vars(facts) for suite, facts in results.networks.items()},
        "letter": {"source": SOURCE, "url": SOURCE_URL},
    }


def _pair_document(pair: PairResult) -> dict[str, Any]:
    published = published_accuracies(pair.train_suite, pair.test_suite)
    return {
        "train_suite": pair.train_suite,
        "test_suite": pair.test_suite,
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
    for name in PARAMETER_NAMES:
        letter, index = name.split("_")
        symbol = {"Omega": "Ω", "sigma": "σ"}.get(letter, f"<i>{letter}</i>")
        html = html.replace(name, f"{symbol}<sub>{index}</sub>")
    return Markup(html.replace(" ± ", "&nbsp;±&nbsp;"))


def _data_uri(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: figure cannot be read ({error.strerror}); draw the figures first") from None
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"


def summarise(results: LetterResults) -> list[str]:
    """What was done and what came out, a sentence each."""
    return [_pair_sentence(pair) for pair in results.pairs]


def _pair_sentence(pair: PairResult) -> str:
    where = f"on {pair.test_suite}, which it had never seen" if pair.crosses_suites else "on unseen simulations of it"
    accuracies = " and ".join(f"{name} to {_percent(pair, name)}" for name in COSMOLOGICAL)
    return f"Trained on {pair.train_suite} and tested {where}, the network infers {accuracies}."


def _percent(pair: PairResult, name: str) -> str:
    return pair.scores[name]["rms_relative_error"].text(percent=True)


def _findings(results: LetterResults) -> Iterator[str]:
    for pair in results.pairs:
        calibration = " ".join(_calibration_sentence(pair, name) for name in COSMOLOGICAL)
        yield f"{pair.name}: {_constraint_sentence(pair)} {calibration}"
    for suite, ratios in results.transfer.items():
        robustness = "; ".join(_transfer_clause(name, ratios[name]) for name in COSMOLOGICAL)
        yield f"Trained on {suite}: {robustness}."


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
    yield (
        "Each suite has one network. The errors come from resampling the test simulations with the network held fixed; "
        "the scatter from one training seed to the next is not in them."
    )
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
    (out / "metrics.json").unlink(missing_ok=True)
    results = LetterResults(
        title="Robust marginalization of baryonic effects: the four pairs",
        pairs=run.pairs,
        transfer=run.transfer,
        figures=draw_letter(out / "figures", run),
        data=run.facts,
        networks={suite: _network_facts(network) for suite, network in run.networks.items()},
        provenance=run.software,
        is_mock=run.is_mock,
        nbody=run.nbody,
    )
    write_pairs(out / "predictions.csv", [*run.pairs, *run.nbody])
    write_report(out / "report.html", results)
    weights = {suite: str(network.weights.relative_to(out)) for suite, network in run.networks.items()}
    document = {"key": run.data.key, "weights": weights, **metrics_document(results)}
    write_text(out / "metrics.json", json.dumps(document, indent=2) + "\n")
    return document


def _network_facts(network: NetworkRun) -> NetworkFacts:
    history = network.history
    return NetworkFacts(
        network.n_parameters,
        int(history["step"][-1]),
        float(history["validation_loss"].min()),
        float(history["seconds"][-1]),
        made=", ".join(network.made[topic] for topic in ("date", "hardware", "commit") if topic in network.made),
    )


def draw_letter(folder: Path, run: LetterRun) -> dict[str, ReportFigure]:
    """Draw and save the figures of the four pairs as PDF and PNG.

    Args:
        folder: where to save them; made if need be.
        run: what the four pairs gave.

    Returns:
        What the report embeds, by heading.
    """
    folder.mkdir(parents=True, exist_ok=True)
    histories = {suite: network.history for suite, network in run.networks.items()}
    drawn = {
        "fig1_maps": draw_maps(run.examples, field=run.data.field, mock=run.is_mock),
        "fig2_four_pairs": draw_four_pairs(run.pairs, mock=run.is_mock),
        "training_history": draw_training_history(histories, mock=run.is_mock),
    }
    paths = {stem: save_figure(figure, folder / stem)[1] for stem, figure in drawn.items()}
    return {
        heading: ReportFigure(paths[stem], caption, description)
        for stem, (heading, caption, description) in _CAPTIONS.items()
    }


_CAPTIONS = {
    "fig1_maps": (
        "Figure 1",
        "Example maps of both suites on one colour scale; Omega_m grows from left to right.",
        "Two rows of square maps of the projected matter density, one row a suite.",
    ),
    "fig2_four_pairs": (
        "Figure 2",
        "Posterior mean minus truth against truth for the four train/test pairs: Omega_m left, sigma_8 right. Error "
        "bars are the posterior standard deviations of 40 maps; faint dots are all tested maps.",
        "Four rows of two scatter plots of residuals around zero, one row a pair of suites.",
    ),
    "training_history": (
        "Training history",
        "Loss of each network against its optimiser steps; the weights of the lowest validation loss are kept.",
        "Curves of training and validation loss that fall with the number of steps.",
    ),
}


def read_finished(out: Path, key: str) -> dict[str, Any] | None:
    """Contents of metrics.json if the folder holds a finished letter of this key with all its files, else None.

    Args:
        out: output folder.
        key: digest of spec and data.
    """
    path = out / "metrics.json"
    figures = [out / "figures" / f"{stem}.{suffix}" for stem in _CAPTIONS for suffix in ("pdf", "png")]
    if not all(file.exists() for file in (path, out / "report.html", out / "predictions.csv", *figures)):
        return None
    document: dict[str, Any] = json.loads(path.read_text())
    return document if document.get("key") == key else None
