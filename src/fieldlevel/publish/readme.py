"""The page of the committed folder of a letter."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from fieldlevel.publish.finished_letter import MARK, FinishedLetter
from fieldlevel.publish.letter_command import letter_command
from fieldlevel.publish.letter_tables import (
    errors_of_means,
    network_table,
    pair_table,
    search_words,
    seed_table,
    total_words,
)
from fieldlevel.suites import MOCK_MARK

SHOWN_FIGURE = "figures/fig2_four_pairs.png"


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


def made_words(made: Mapping[str, str]) -> str:
    """Hardware and commit."""
    return f"{made['hardware']} (commit {made.get('commit', 'unknown')})"


def readme(finished: FinishedLetter, out: Path, name_of_run: str) -> str:
    """The page.

    Args:
        finished: the letter.
        out: folder that is committed.
        name_of_run: of the letter, for the heading.
    """
    document, run = finished.document, finished.document["provenance"]
    seeds = seed_table(document, errors_of_means(finished.folder / "predictions.csv"))
    trained = ", ".join(dict.fromkeys(made_words(network.run.made) for network in finished.networks))
    command = shlex.join(["fieldlevel", *letter_command(finished.spec, finished.is_given)])
    facts = "\n".join(f"* {name}: {fact}" for name, fact in document["data_facts"].items() if MARK not in name)
    place = out if not out.is_absolute() else Path(out.name)
    heading = "The four pairs" if len(finished.suites) == 2 else "All pairs"
    over_seeds = f"\nMean ± standard deviation over the training seeds:\n\n{seeds}\n" if seeds else ""
    return f"""# {MOCK_MARK}: {name_of_run}

{MOCK_MARK}: the maps were simulated by this package with simple stand-ins for the CAMELS suites; no number here is a
result about CAMELS. Made by

```
{command}
python -m fieldlevel.publish.letter_folder letter-output --out {place.as_posix()}
```

Report and measures: fieldlevel {run["fieldlevel"]} on {made_words(run)}, PyTorch {run["PyTorch"]}, {run["date"]}.
Networks were trained on {trained}. The maps:

{data_words(finished)}

{facts}

## {heading}

± is the bootstrap error over test simulations, with the networks held fixed.

{pair_table(document)}
{over_seeds}
{figure_words((finished.folder / "report.md").read_text(), SHOWN_FIGURE)}

## What each network took

Seconds from the first step of each network to the fit of its head, interruptions left out. Several may have run side by
side, so that the sums are not the time on the clock.

{network_table(finished.networks)}

{total_words(finished.networks, finished.suites)}{search_words(finished.searches)}

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
