"""Tables of what a letter found and took, as Markdown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from fieldlevel.publish.finished_letter import Document, UsedNetwork, compared_suites
from fieldlevel.publish.pair_predictions import averaged_over_seeds, read_pairs
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import METRICS, evaluate, scores_from_json
from fieldlevel.study.document import MAIN_METRICS
from fieldlevel.study.keys import pairs_key
from fieldlevel.study.searches import Searches
from fieldlevel.suites import nbody_twin

_OF_CLAIMS = ("Omega_m", "sigma_8")
"""Parameters of the tables."""


def named(scores: Mapping[str, Any]) -> list[str]:
    """The parameters of the tables that were scored."""
    return [name for name in _OF_CLAIMS if name in scores]


def eight_networks(networks: Sequence[UsedNetwork], suites: Sequence[str]) -> dict[str, UsedNetwork | None]:
    """The letter's eight networks by what they are for; None for those that were not trained.

    One for each suite; for the first suite one on gravity-only maps, three on maps smoothed by 1, 2 and 3 pixels, one
    on power spectra, and a repeat with a second seed.
    """
    by_use = {(use, net.run.spec.suite, net.run.spec.seed): net for net in networks for use in net.experiments}
    first, other = suites[:2]
    pairs = pairs_key(suites).label
    seed = min(network.run.spec.seed for network in networks)
    uses = {
        first: (pairs, first, seed),
        other: (pairs, other, seed),
        "gravity-only maps": ("N-body to hydro", nbody_twin(first), seed),
        **{f"smoothing {scale} px": (f"smoothing {scale} px", first, seed) for scale in (1, 2, 3)},
        "power spectrum": ("power spectrum", first, seed),
        "repeat with a second seed": (pairs, first, seed + 1),
    }
    return {name: by_use.get(use) for name, use in uses.items()}


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Header, rule and rows."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))


def pair_name(pair: Mapping[str, Any]) -> str:
    """As in the report."""
    return f"{pair['train_suite']} → {pair['test_suite']}"


def pair_table(document: Document) -> str:
    """The pairs with the first seed; errors by bootstrap over the test simulations."""
    rows = []
    for pair in document["pairs"]:
        scores, ratios = scores_from_json(pair["scores"]), document["transfer_ratio_rmse"].get(pair_name(pair), {})
        for name in named(scores):
            measures = [scores[name][key].text(METRICS[key].percent) for key in MAIN_METRICS]
            ratio = Estimate.from_json(ratios[name]).text() if name in ratios else "–"
            rows.append([pair_name(pair), name, *measures, ratio])
    labels = [METRICS[key].label for key in MAIN_METRICS]
    return markdown_table(["trained → tested", "parameter", *labels, "RMSE over that on the own suite"], rows)


def scatter(values: Sequence[float], percent: bool = False) -> str:
    """Mean and standard deviation."""
    return Estimate(mean(values), stdev(values), np.nan, np.nan).text(percent)


def errors_of_means(predictions: Path) -> dict[tuple[str, str, str], float]:
    """Rms relative error of the average, over the seeds of the pairs, of what the networks say of a map.

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
        for name in named(scores)
    }


def seed_table(document: Document, of_means: Mapping[tuple[str, str, str], float]) -> str:
    """Mean and scatter over the seeds of the pairs, and `errors_of_means`; empty where there is one seed."""
    tests: dict[tuple[str, str], dict[int, Any]] = {}
    for pair in document["experiments"][pairs_key(compared_suites(document)).label]:
        tests.setdefault((pair["train_suite"], pair["test_suite"]), {})[pair["seed"]] = pair
    rows = []
    for (trained, tested), of_seed in tests.items():
        for name in named(next(iter(of_seed.values()))["scores"]) if len(of_seed) > 1 else ():
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


def total_words(networks: Sequence[UsedNetwork], suites: Sequence[str]) -> str:
    """Seconds of all networks and of the letter's eight."""
    eight = eight_networks(networks, suites)
    there = [network for network in eight.values() if network is not None]
    missing = [name for name, network in eight.items() if network is None]
    first, other = suites[:2]
    lack = f"; not trained: {', '.join(missing)}" if missing else ""
    return f"""* all {len(networks)} networks: {sum(network.seconds for network in networks):.1f} s
* {len(there)} of the eight networks of the letter: {sum(network.seconds for network in there):.1f} s{lack}

The eight are one network for {first}, one for {other}, and for {first} one on its gravity-only twin, three on
maps smoothed by 1, 2 and 3 pixels, one on power spectra and a repeat with a second seed."""


def search_words(searches: Searches) -> str:
    """What the searches took, which the totals leave out."""
    each = []
    for (inputs, suite), search in searches.items():
        seconds = sum(float(trial["seconds"] or 0) for trial in search.trials)
        each.append(f"{inputs} of {suite} {seconds:.1f} s for {len(search.trials)} trials")
    return f"\n\nSearches for hyper-parameters are not in these sums: {', '.join(each)}." if each else ""
