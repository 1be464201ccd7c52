"""A letter, or a study of robustness, in one call: data, networks, tests, report; what is there is not done again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldlevel.errors import UserError, shown
from fieldlevel.locks import claimed
from fieldlevel.progress import Listener, ignore
from fieldlevel.progress_bars import telling
from fieldlevel.report import robustness_page
from fieldlevel.report.letter_files import write_letter
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.study import runner
from fieldlevel.study.finished import OURS, read_finished
from fieldlevel.study.letter_data import prepare_data, prepare_pairs
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.robustness import robustness_runner
from fieldlevel.study.robustness.robustness_data import prepare_robustness
from fieldlevel.study.robustness.robustness_scales import robustness_scale
from fieldlevel.study.robustness.robustness_spec import RobustnessSpec
from fieldlevel.study.scales import SCALES
from fieldlevel.study.verdict import Verdict


@dataclass(frozen=True, eq=False)
class StudyReport:
    """What came of a letter or of a study of robustness.

    Attributes:
        folder: of report.html, report.md, figures, predictions.csv and all the rest.
        document: what was found, as plain JSON: `metrics.json` of a letter, `summary.json` of a study of robustness.
    """

    folder: Path
    document: Mapping[str, Any]

    @property
    def page(self) -> Path:
        """The report."""
        return self.folder / "report.html"

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What became of each claim."""
        return tuple(Verdict(**each) for each in self.document["verdicts"])

    def __repr__(self) -> str:
        mark = f", {self.document['data_mark']}" if self.document["data_mark"] else ""
        held = sum(verdict.outcome == "holds" for verdict in self.verdicts)
        return f"<StudyReport in {self.folder}{mark}: {held} of {len(self.verdicts)} claims hold>"


def _show_nothing(_pairs: Sequence[PairResult]) -> None:
    """What was shown before."""


def make_letter(
    spec: LetterSpec | str = "laptop",
    data: str | Path | None = None,
    out: str | Path = "letter-output",
    device: str = "auto",
    workers: int = 1,
    listener: Listener = ignore,
    *,
    show_pairs: Callable[[Sequence[PairResult]], None] = _show_nothing,
    verbose: bool = False,
) -> StudyReport:
    """Do the whole letter (arXiv:2109.10360): data, networks, every test, figures, report.

    Calling it again continues an interrupted letter and returns at once from a finished one.

    Args:
        spec: suites, experiments and networks, or the name of a scale: `"laptop"` (a quarter of an hour on two CPU
            cores), `"half"`, `"letter"` (GPUs).
        data: folder of CMD files; None simulates mock suites below `out`.
        out: where everything goes.
        device: `"auto"` and `"cuda"` take all GPUs, `"cuda:1"` that one, or `"cpu"`.
        workers: processes on the CPU; on GPUs there is one each. A script that asks for several needs the guard
            `if __name__ == "__main__":`.
        listener: hears of the progress.
        show_pairs: called with the pairs of suites as soon as they are there, long before the rest.
        verbose: whether to show the progress, too.

    Returns:
        The report and what it says.

    Raises:
        DataError: data that is not sound.
        TrainingError: a loss is not finite.
        UserError: settings that cannot be used, or a folder that holds somebody else's files.

    Example:
        `fieldlevel.make_letter("letter", "cmd", "out", verbose=True).page`
    """
    spec, folder = SCALES[_scale(spec)]() if isinstance(spec, str) else spec, Path(out)
    with claimed(folder, OURS), telling(listener, verbose) as told:
        if data is None and not (folder / "metrics.json").exists():
            pairs = prepare_pairs(spec, folder, device, workers, told)
            show_pairs(runner.run_pairs(spec, pairs, folder, device, told, workers))
            show_pairs = _show_nothing
        found = prepare_data(spec, _path(data), folder, device, workers, told)
        document = read_finished(folder, found.key, *found.earlier)
        if document is None:
            results = runner.run_letter(spec, found, folder, device, told, show_pairs, workers)
            document = write_letter(folder, results)
    return StudyReport(folder, document)


def make_robustness(
    spec: RobustnessSpec | str = "laptop",
    data: str | Path | None = None,
    out: str | Path = "robustness-output",
    device: str = "auto",
    workers: int = 1,
    listener: Listener = ignore,
    *,
    shared: str | Path | None = None,
    verbose: bool = False,
) -> StudyReport:
    """Leave each of three suites or more out, train on the others, test there, and write a report.

    Calling it again continues an interrupted study and returns at once from a finished one.

    Args:
        spec: of the study, or the name of a scale: `"laptop"`, `"half"`, `"letter"`.
        data: folder of CMD files; None simulates mock suites.
        out: where everything goes.
        device: as of `make_letter`.
        workers: as of `make_letter`.
        listener: hears of the progress.
        shared: folder of data and networks, e.g. that of a letter, whose are then found; `out` when None.
        verbose: whether to show the progress, too.

    Returns:
        The report and what it says.

    Raises:
        DataError: data that is not sound.
        TrainingError: a loss is not finite.
        UserError: settings that cannot be used, or a folder that holds somebody else's files.

    Example:
        `fieldlevel.make_robustness("letter", "cmd", "out", verbose=True).verdicts`
    """
    spec = robustness_scale(_scale(spec)) if isinstance(spec, str) else spec
    folder, kept = Path(out), Path(out if shared is None else shared)
    with claimed(folder, robustness_page.ROBUSTNESS_FILES), telling(listener, verbose) as told:
        found = prepare_robustness(spec, _path(data), kept, device, workers, told)
        document = robustness_page.read_finished_robustness(folder, found.key)
        if document is None:
            results = robustness_runner.run_robustness(spec, found, kept, device, told, workers)
            document = robustness_page.write_robustness(folder, results)
    return StudyReport(folder, document)


def _scale(name: str) -> str:
    if name not in SCALES:
        raise UserError(f"scale {shown(name)}: there are {', '.join(SCALES)}; give one of them, or a spec")
    return name


def _path(folder: str | Path | None) -> Path | None:
    return None if folder is None else Path(folder)
