"""Everything that the command line prints: tables, messages and `progress_bars`. No other module prints."""

import math
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from rich import markup
from rich.console import Console
from rich.table import Table

from fieldlevel import progress_bars, streams
from fieldlevel.errors import printable
from fieldlevel.layout import Layout
from fieldlevel.suites import MOCK_MARK, is_mock
from fieldlevel.wording import name_some

if TYPE_CHECKING:
    from fieldlevel.arrays import FloatArray, IntArray
    from fieldlevel.demo import Demo
    from fieldlevel.statistics.pairs import PairResult
    from fieldlevel.study.robustness.robustness_plan import PlannedKind

_FOUR_SHARES = len("0.68 0.68 0.68 0.68")
_PADDING = 2
"""Characters between columns."""
_GAP_OF_MAPS = 6
"""Characters between maps."""

N_MAPS_SHOWN = 10
"""Posteriors that are printed; the file has them all."""
N_PAIRS_SHOWN = 10
"""Pairs of parameters whose correlations are printed; the file has them all."""


def error(message: str) -> None:
    """One line on standard error."""
    streams.say_error(message)


def say(*lines: str) -> None:
    """Plain lines on standard output."""
    for line in lines:
        sys.stdout.write(f"{printable(line)}\n")
    sys.stdout.flush()


def escape(text: str) -> str:
    """Text that shows in a table as it is."""
    return markup.escape(printable(text))


progress_display = progress_bars.progress_display
"""A bar for every task on a terminal; on a pipe or in a log file a line now and then."""


def print_letter(document: Mapping[str, Any], out: Path) -> None:
    """The table of the pairs and the verdicts of a finished letter, and where its files are.

    Args:
        document: contents of `metrics.json`, whose `cosmological` parameters are shown, those of CAMELS in documents
            from before they were named.
        out: the output folder.
    """
    console, mark = Console(), f" · {document['data_mark']}" if document["data_mark"] else ""
    pairs = document["pairs"]
    names = document.get("cosmological", [parameter.name for parameter in Layout().cosmological])
    console.print(_pair_table(f"{_count_pairs(len(pairs))}{mark}", pairs, names))
    say(_WHAT_SCORES_SAY)
    table = Table(title=escape(f"Verdicts{mark}"), title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("experiment", "outcome", "measured"):
        table.add_column(column)
    for verdict in document["verdicts"]:
        outcome = verdict["outcome"]
        shown = "[bold]fails[/]" if outcome == "fails" else escape(outcome)
        table.add_row(escape(verdict["experiment"]), shown, escape(verdict["measured"]))
    console.print(table)
    facts = document.get("data_facts", {})
    notes = {"remark": "note", "left out": "left out"}
    say(*(f"{word}: {facts[name]}" for name, word in notes.items() if name in facts))
    say(*(f"{name}: {out / name}" for name in ("report.html", "report.md", "metrics.json", "predictions.csv")))


def print_robustness(document: Mapping[str, Any], out: Path) -> None:
    """What networks are on each left-out suite, what came of the claims, and where the files are.

    Args:
        document: contents of `summary.json`.
        out: the output folder.
    """
    console, mark = Console(), f" · {document['data_mark']}" if document["data_mark"] else ""
    if document["method"]:
        table = _plain_table(f"Left out in turn{mark}", ("suite", "method", "it is", "68% holds"))
        for suite, word in document["folds"][document["method"]].items():
            covered = f"{document['coverage68_by_fold'][suite]:.2f}"
            table.add_row(*map(escape, (suite, document["method_by_fold"][suite], word, covered)))
        console.print(table)
    say(*document["sentences"])
    table = _plain_table(f"Verdicts{mark}", ("experiment", "outcome", "criterion"))
    for verdict in document["verdicts"]:
        outcome = verdict["outcome"]
        shown = "[bold]fails[/]" if outcome == "fails" else escape(outcome)
        table.add_row(escape(verdict["experiment"]), shown, escape(verdict["criterion"]))
    console.print(table)
    say(*(f"{name}: {out / name}" for name in ("report.html", "report.md", "summary.json", "predictions.csv")))


def print_plan(kinds: "Sequence[PlannedKind]") -> None:
    """How many networks a robustness study trains, and for how long.

    Args:
        kinds: of networks, with their numbers.
    """
    table = _plain_table("To train", ("networks", "number", "left", "steps", "minutes of a device"))
    for each in kinds:
        table.add_row(each.kind, str(each.n_networks), str(each.n_left), f"{each.steps:,}", f"{each.minutes:.0f}")
    numbers = [sum(getattr(each, name) for each in kinds) for name in ("n_networks", "n_left", "steps")]
    table.add_row("together", *(f"{n:,}" for n in numbers), f"{sum(each.minutes for each in kinds):.0f}")
    Console().print(table)


def _plain_table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=escape(title), title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column)
    return table


def print_pairs(pairs: "Sequence[PairResult]") -> None:
    """The table of the pairs while the rest of the letter is still being done.

    Args:
        pairs: tested networks.
    """
    from fieldlevel.statistics.metrics import scores_to_json  # noqa: PLC0415 (keeps `--help` fast)
    from fieldlevel.statistics.shared_parameters import main_parameters  # noqa: PLC0415

    rows = [
        {"train_suite": pair.train_suite, "test_suite": pair.test_suite, "scores": scores_to_json(pair.scores)}
        for pair in pairs
    ]
    names = [parameter.name for parameter in main_parameters(pair.layout for pair in pairs)] if pairs else []
    mark = f" · {MOCK_MARK}" if any(pair.is_mock for pair in pairs) else ""
    Console().print(_pair_table(f"{_count_pairs(len(pairs))}{mark}; the other tests follow", rows, names))
    say(_WHAT_SCORES_SAY)


def _count_pairs(n: int) -> str:
    return "Four pairs" if n == 4 else f"{n} pair{'s' * (n != 1)}"


def _pair_table(title: str, pairs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    """Rows of these parameters for each pair, of all where there are none of them."""
    table = _score_table(title, "train → test")
    for pair in pairs:
        table.add_row(f"[bold]{escape(pair['train_suite'])} → {escape(pair['test_suite'])}")
        scores = pair["scores"]
        for name in [name for name in names if name in scores] or scores:
            table.add_row(f"  {escape(name)}", *_cells(scores[name]))
    return table


_MEASURES = {
    "rms_relative_error": "rms relative\nerror",
    "mean_relative_std": "mean σ/μ",
    "r2": "R²",
    "reduced_chi2": "reduced χ²",
}
"""Those that are printed; `metrics.json` has them all."""
_WHAT_SCORES_SAY = "μ, σ: posterior mean, std. R²: 1 is perfect. χ² above 1: σ is too small."


def _score_table(title: str, rows: str) -> Table:
    table = Table(title=escape(title), title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(rows, no_wrap=True, vertical="bottom")
    for heading in _MEASURES.values():
        table.add_column(heading, justify="right", vertical="bottom")
    return table


def _cells(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [_cell(scores[key], percent=key.startswith(("rms", "mean"))) for key in _MEASURES]


def _cell(estimate: Mapping[str, Any], *, percent: bool) -> str:
    value, spread = float(estimate["value"]), float(estimate["error"])
    if math.isnan(value):
        return "undefined"  # as where the truth is not known
    scale, decimals, unit = (100, 1, "%") if percent else (1, 2, "")
    error = f" ± {scale * spread:.{decimals}f}" if math.isfinite(spread) else ""  # none of too few simulations
    return f"{scale * value:.{decimals}f}{error}{unit}"


def print_trials(suite: str, trials: Sequence[Mapping[str, str]], n_best: int) -> None:
    """The best trials of a hyper-parameter search, and how many there were.

    Args:
        suite: what the networks were trained on.
        trials: rows of `trials.csv`.
        n_best: rows to show.
    """
    complete = [trial for trial in trials if trial["state"] == "complete"]
    mark = f" · {MOCK_MARK}" if is_mock(suite) else ""
    title = f"{suite}: best of {len(trials)} trials, {len(complete)} of them complete{mark}"
    names = [name for name in trials[0] if name not in ("state", "error")]
    best = sorted(complete, key=lambda trial: float(trial["value"]))[:n_best]
    rows = [[f"{float(trial[name]):.4g}" for name in names] for trial in best]
    say(title)
    told = {"number": "trial", "value": "validation loss"}
    _print_in_parts([told.get(name, name.replace("_", " ")) for name in names], rows, justify="right")


def _print_in_parts(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, justify: Literal["left", "right"] = "left"
) -> None:
    """A table; where it is wider than the terminal, one below the other, each with the first column."""
    console, columns = Console(), list(zip(*[headings, *rows], strict=True))
    widths = [_PADDING + max(map(len, column)) for column in columns]
    parts: list[list[int]] = [[]]
    for number in range(1, len(columns)):
        if parts[-1] and widths[0] + sum(widths[i] for i in [*parts[-1], number]) - _PADDING > console.width:
            parts.append([])
        parts[-1].append(number)
    for part in parts:
        table = Table(box=None, pad_edge=False, padding=(0, _PADDING, 0, 0))
        for number in (0, *part):
            table.add_column(escape(headings[number]), justify=justify)
        for row in rows:
            table.add_row(*(escape(row[number]) for number in (0, *part)))
        console.print(table)


def print_posteriors(mean: "FloatArray", std: "FloatArray", layout: Layout) -> None:
    """What a network says of the cosmology of the first maps; of all its parameters where none is cosmological.

    Args:
        mean: posterior means, (n, P), columns in the order of the layout's parameters.
        std: posterior standard deviations, (n, P).
        layout: whose parameters they are.
    """
    from fieldlevel.statistics.estimates import Estimate  # noqa: PLC0415 (keeps `--help` fast)
    from fieldlevel.statistics.shared_parameters import main_parameters  # noqa: PLC0415

    names = [parameter.name for parameter in main_parameters([layout])]
    columns = [layout.column(name) for name in names]
    shown = np.stack([mean, std], axis=-1)[:N_MAPS_SHOWN, columns]
    rows = [
        [str(number), *(Estimate(value, error, np.nan, np.nan).text() for value, error in moments)]
        for number, moments in enumerate(shown)
    ]
    _print_in_parts(["map", *names], rows)
    if len(mean) > N_MAPS_SHOWN:
        say(f"... and {len(mean) - N_MAPS_SHOWN} more")


def print_transfer(std: "FloatArray", layout: Layout, guarantee: str) -> None:
    """How large error bars of the cosmology are on maps of a suite that the network was not trained on.

    Args:
        std: standard deviations there, (n, P), NaN where they are not known; told is their root mean square.
        layout: whose parameters they are.
        guarantee: what may be said of them.
    """
    from fieldlevel.statistics.shared_parameters import main_parameters  # noqa: PLC0415 (keeps `--help` fast)

    names = [parameter.name for parameter in main_parameters([layout])]
    sizes = {name: float(np.sqrt(np.mean(std[:, layout.column(name)] ** 2))) for name in names}
    told = ", ".join(f"{name} ± {size:#.2g}" for name, size in sizes.items() if math.isfinite(size))
    say(*([f"error bars if the maps are of another suite: {told}"] if told else []), f"note: {guarantee}")


def print_demo(found: "Demo") -> None:
    """Maps in characters, posteriors beside the truth, and whether the network takes the maps for its own.

    Args:
        found: what the network says of maps of two suites or more.
    """
    from fieldlevel.demo import in_characters  # noqa: PLC0415 (keeps `--help` fast)
    from fieldlevel.statistics.estimates import Estimate  # noqa: PLC0415

    mark = f"{MOCK_MARK}: " if found.is_mock else ""
    say(f"{mark}maps of {' and '.join(found.maps)} that network {found.network} has never seen", "")
    drawn = [in_characters(maps[0]) for maps in found.maps.values()]
    width = len(drawn[0][0]) + _GAP_OF_MAPS
    say("".join(suite.ljust(width) for suite in found.maps).rstrip())
    say(*("".join(line.ljust(width) for line in lines).rstrip() for lines in zip(*drawn, strict=True)), "")
    names = [parameter.name for parameter in found.parameters]
    table = _plain_table(f"Network {found.network}: posterior of each map", ("map", *names))
    for suite in found.maps:
        for number, moments in enumerate(np.stack(found.moments(suite), axis=-1)):
            told = (Estimate(mean, std, np.nan, np.nan).text() for mean, std in moments)
            table.add_row(escape(f"{suite} {number}"), *told)
    table.add_row("[bold]truth", *(f"[bold]{parameter.fiducial:g}" for parameter in found.parameters))
    Console().print(table)
    for suite, posterior in found.posteriors.items():
        off = ", ".join(f"{name} {sigma:+.1f}" for name, sigma in zip(names, found.sigmas_off(suite), strict=True))
        say("", f"{suite}: off the truth by, in error bars: {off}")
        if posterior.trust is not None:
            say(
                *textwrap.wrap(f"trust: {posterior.trust.sentence}", 80, break_on_hyphens=False, break_long_words=False)
            )


def print_remarks(remarks: Sequence[str]) -> None:
    """What one should know of a network before believing it."""
    say(*(f"note: the network was {remark}" for remark in remarks))


def print_seen(maps: "Sequence[int] | IntArray") -> None:
    """Which maps are no test of the network."""
    if len(maps):
        say(f"note: the network was trained or validated on {count_maps(len(maps))}: {name_some(maps)}")


def print_outside(maps: "Sequence[int] | IntArray", names: Sequence[str]) -> None:
    """Which maps have posteriors that none inside the prior can have, of at least one of these parameters."""
    if len(maps):
        told = f"unlike those of the training, with {_either(names)} wider than or outside the prior"
        say(f"{told}: {count_maps(len(maps))} ({name_some(maps)})")


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def count_maps(n: int) -> str:
    """So many maps in words."""
    return "1 map" if n == 1 else f"{n} maps"


def print_scores(title: str, scores: Mapping[str, Mapping[str, Mapping[str, Any]]], out: Path) -> None:
    """How well each parameter is inferred.

    Args:
        title: what was tested on what.
        scores: estimates as in `metrics.json`, by parameter and measure.
        out: folder of `metrics.json`, which has every measure, and `predictions.csv`.
    """
    table = _score_table(title, "")
    for name in scores:
        table.add_row(escape(name), *_cells(scores[name]))
    Console().print(table)
    say(_WHAT_SCORES_SAY, *(f"{name}: {out / name}" for name in ("metrics.json", "predictions.csv")))


_WHAT_COVERAGE_SAYS = "Share of truths inside intervals; calibrated: 0.68, 0.95 and PIT p > 0.05."


def print_error_bars(document: Mapping[str, Any]) -> None:
    """Whether error bars are honest, as an evaluation measured it.

    Args:
        document: contents of its `metrics.json`.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("coverage", no_wrap=True, vertical="bottom")
    for heading in ("at 68%", "at 95%"):
        table.add_column(heading, justify="right", no_wrap=True, vertical="bottom")
    table.add_column("at 68%, by quarter\nof the prior", justify="right", min_width=_FOUR_SHARES)
    table.add_column("PIT p", justify="right", no_wrap=True, vertical="bottom")
    for name, found in document["error_bars"].items():
        levels = [_cell(found["coverage"][level], percent=False) for level in ("0.68", "0.95")]
        quarters = [_short(quarter["0.68"]["value"]) for quarter in found["quarters"]]
        table.add_row(escape(name), *levels, " ".join(quarters), _p_value(found["uniformity"]["p_value"]))
    Console().print(table)
    say(_WHAT_COVERAGE_SAYS)
    if "tarp" in document:
        area, width = (_cell(document["tarp"][key], percent=False) for key in ("area", "width"))
        say(f"joint posteriors (TARP): area {area}, width {width}; calibrated: 0, 0")
    if document.get("correlations"):
        names = document.get("cosmological", [parameter.name for parameter in Layout().cosmological])
        _print_correlations(document["correlations"], names)
    if "transfer" in document:
        chi2 = {name: row["reduced_chi2"] for name, row in document["transfer"].get("scores", {}).items()}
        told = ", ".join(f"{name} {_cell(each, percent=False)}" for name, each in chi2.items())
        say(*([f"χ² with transfer errors: {told}"] if told else []), f"note: {document['transfer']['guarantee']}")


def _print_correlations(pairs: Sequence[Mapping[str, Any]], cosmological: Sequence[str]) -> None:
    """Those of joint posteriors beside those of their errors: of the cosmological parameters, and above the noise."""
    from fieldlevel.statistics.correlations import telling_pairs  # noqa: PLC0415 (keeps `--help` fast)

    shown = telling_pairs(pairs, cosmological)[:N_PAIRS_SHOWN]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("correlation of")
    for heading in ("of the posteriors", "of (θ − μ)/σ"):
        table.add_column(heading, justify="right", no_wrap=True)
    for pair in shown:
        cells = (_cell(pair[key], percent=False) for key in ("claimed", "found"))
        table.add_row(escape(", ".join(pair["parameters"])), *cells)
    Console().print(table)
    others = len(pairs) - len(shown)
    say("θ: the truth. Both columns agree where joint posteriors are calibrated.")
    if others:
        say(f"{others} other pair{'s' * (others > 1)}, weaker or within the noise: metrics.json")


def _p_value(value: float | str) -> str:
    """Two decimals; not 0 where it is small.

    Example:
        >>> _p_value(0.2), _p_value(0.0004), _p_value("nan")
        ('0.20', '<0.01', '–')
    """
    return "<0.01" if float(value) < 0.005 else _short(value)


def _short(value: float | str) -> str:
    return f"{float(value):.2f}".replace("nan", "–")
