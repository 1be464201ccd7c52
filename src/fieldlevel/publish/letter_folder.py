"""What of a finished letter on mock suites belongs in a repository: a small folder without maps, weights and PDFs.

    fieldlevel letter --scale letter
    python -m fieldlevel.publish.letter_folder letter-output --out results/letter-mock

The folder holds the report with its figures, all measures, all predictions, where they come from, and what each network
took. It is made aside and takes its name when it is whole; an unfinished or damaged letter is refused. The letter's
maps are not read and may be gone, but not the `provenance.json` beside them.
"""

import csv
import gzip
import io
import json
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from fieldlevel.files import write_bytes, write_text
from fieldlevel.publish.finished_letter import FinishedLetter, UsedNetwork, read_letter
from fieldlevel.publish.letter_command import letter_command
from fieldlevel.publish.readme import readme
from fieldlevel.publish.refusals import exit_on_refusal
from fieldlevel.publish.results_folder import print_sizes, replaced_whole
from fieldlevel.suites import MOCK_MARK

COPIED = ("report.html", "report.md", "metrics.json")
MADE = {*COPIED, "figures", "predictions.csv.gz", "networks.csv", "provenance.json", "README.md"}
"""Everything in the folder; one that holds anything else is not replaced."""


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
    write_text(folder / "README.md", readme(finished, arguments.out, arguments.name_of_run))


def main() -> None:
    """Read the letter, write the folder, print the sizes."""
    arguments = tyro.cli(Arguments)
    finished = read_letter(arguments.letter, arguments.data)
    with replaced_whole(arguments.out, MADE) as folder:
        gather(finished, folder, arguments)
    print_sizes(arguments.out)


if __name__ == "__main__":
    exit_on_refusal(main)
