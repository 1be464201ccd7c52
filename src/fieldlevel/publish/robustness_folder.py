"""What of a finished robustness study on mock suites belongs in a repository: report, figures and measures.

    fieldlevel robustness --scale letter --out robustness-output
    python -m fieldlevel.publish.robustness_folder robustness-output --out results/robustness

The folder is made aside and takes its name when it is whole; an unfinished study, or one on other than mock suites, is
refused. Maps and runs are not read and may be gone.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from fieldlevel.errors import UserError
from fieldlevel.files import write_text
from fieldlevel.json_files import read_json_object
from fieldlevel.publish.readme import made_words
from fieldlevel.publish.refusals import exit_on_refusal
from fieldlevel.publish.results_folder import print_sizes, replaced_whole
from fieldlevel.report.robustness_page import read_finished_robustness
from fieldlevel.suites import MOCK_MARK

COPIED = ("report.html", "report.md", "summary.json")
MADE = {*COPIED, "figures", "spec.json", "README.md"}
"""Everything in the folder; one that holds anything else is not replaced."""
CLAIMS = {
    "worst_ratio_leave_one_out": "worst RMSE over the oracle's, no map of the suite seen",
    "worst_ratio_adapted": "the same, shown all training maps of the suite without labels",
    "own_cost": "worst RMSE of one network on all suites over that of a suite's own",
}
"""Numbers on top of `summary.json`, in words."""


@dataclass(frozen=True)
class Arguments:
    """Gather what of a finished robustness study is committed."""

    study: Annotated[Path, tyro.conf.Positional]
    """Output folder of `fieldlevel robustness`."""
    out: Path = Path("results/robustness")


def read_study(folder: Path) -> dict[str, Any]:
    """Contents of `summary.json`, which a study writes last.

    Raises:
        UserError: there is none, or of another version, or a file is missing, or the suites are not mock ones.
    """
    path = folder / "summary.json"
    known = read_finished_robustness(folder, str(read_json_object(path).get("key")))
    if known is None:
        raise UserError(f"{path}: not of a finished study of this version; give the command of the study again")
    if known["data_mark"] != MOCK_MARK:
        raise UserError(f"{folder}: not on mock suites; keep what you need of it by hand")
    return known


def gather(folder: Path, study: Path, document: Mapping[str, Any], out: Path) -> None:
    """Fill an empty folder."""
    (folder / "figures").mkdir()
    for name in (*COPIED, *(name for name in document["figures"] if name.endswith(".png"))):
        shutil.copyfile(study / name, folder / name)
    write_text(folder / "spec.json", json.dumps(document["spec"], indent=2) + "\n")
    write_text(folder / "README.md", readme(document, out))


def readme(document: Mapping[str, Any], out: Path) -> str:
    """The page."""
    run, place = document["provenance"], (out if not out.is_absolute() else Path(out.name)).as_posix()
    sentences = "\n".join(f"* {sentence}" for sentence in document["sentences"])
    facts = "\n".join(f"* {name}: {fact}" for name, fact in document["data_facts"].items() if "fingerprint" not in name)
    return f"""# {MOCK_MARK}: do networks hold on suites that they have never seen?

{MOCK_MARK}: the maps were simulated by this package with simple stand-ins for the CAMELS suites; no number here is a
result about CAMELS. With the suites in a folder (below), made by

```
fieldlevel robustness --data mock-data --config {place}/spec.json --out robustness-output
python -m fieldlevel.publish.robustness_folder robustness-output --out {place}
```

Report and measures: fieldlevel {run["fieldlevel"]} on {made_words(run)}, PyTorch {run["PyTorch"]}, {run["date"]};
networks may have been trained elsewhere. The maps:

{facts}

## What came out

{claims_table(document)}

{sentences}

## Files

* `report.html`: the whole report on one page; `report.md` and `figures/`: the same as Markdown.
* `summary.json`: every measure with its errors, verdicts and settings.
* `spec.json`: what was asked for, as `--config` takes it.

Not here: maps, weights, predictions, figures as PDF. The first command makes them again.
"""


def claims_table(document: Mapping[str, Any]) -> str:
    """The numbers that claims are about."""
    rows = [(words, document[name]) for name, words in CLAIMS.items()]
    rows += [(f"68% intervals hold of {suite}", share) for suite, share in document["coverage68_by_fold"].items()]
    told = [f"| {words} | {'not done' if value is None else f'{value:.2f}'} |" for words, value in rows]
    return "\n".join(["| quantity | measured |", "| --- | --- |", *told])


def main() -> None:
    """Read the study, write the folder, print the sizes."""
    arguments = tyro.cli(Arguments)
    document = read_study(arguments.study)
    with replaced_whole(arguments.out, MADE) as folder:
        gather(folder, arguments.study, document, arguments.out)
    print_sizes(arguments.out)


if __name__ == "__main__":
    exit_on_refusal(main)
