"""The folder of a training: its files, whether it has begun or is finished, and that nobody else's are replaced."""

import csv
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

from fieldlevel.data.seen import SeenSource
from fieldlevel.data.suite import Suite, is_old_fingerprint
from fieldlevel.errors import UserError
from fieldlevel.files import make_folder, starts_with, write_text, written_aside
from fieldlevel.json_files import holds_keys
from fieldlevel.locks import refuse_foreign
from fieldlevel.spec_io import first_difference, read_spec, to_json
from fieldlevel.training.sources import fingerprints_of
from fieldlevel.training.state import HistoryRow
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.weights_file import WEIGHTS_NAME, read_weights_file


class RunFolder:
    """Where a training keeps what it knows: `spec.json`, `resume.pt` until it is done, `history.csv` and the weights.

    The history grows by a row at every validation.

    Args:
        path: of the folder, which need not be there.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.weights = self.path / WEIGHTS_NAME
        self.resume = self.path / "resume.pt"
        self.spec = self.path / "spec.json"

    @property
    def is_finished(self) -> bool:
        """Whether it holds a network."""
        return self.weights.exists()

    @property
    def has_begun(self) -> bool:
        """Whether a training was begun here, which is then not judged again."""
        return self.is_finished or self.resume.exists()

    def claim(self, spec: TrainSpec) -> None:
        """Make the folder, or refuse one of another run or of somebody else's.

        Raises:
            UserError: with what to do.
        """
        make_folder(self.path)
        if self.has_begun and self.spec.exists():
            self._refuse_other_spec(spec)
        elif not self.is_finished:
            refuse_foreign(self.path, OURS)

    def _refuse_other_spec(self, spec: TrainSpec) -> None:
        try:
            known = read_spec(TrainSpec, self.spec)
        except UserError as error:
            raise UserError(f"{error}; if it is not of this run, train in another folder") from None
        if known != spec:
            told = f"{self.path}: holds a run of another spec ({first_difference(known, spec)})"
            raise UserError(f"{told}; train in another folder, or delete it")

    def check_finished(self, spec: TrainSpec, suites: Sequence[Suite]) -> Path:
        """The weights, if they are those of a spec and of the maps of some suites, or of such simulated anew.

        Raises:
            UserError: damaged weights, or those of another spec or other data.
        """
        try:
            known = read_weights_file(self.weights)
        except UserError:
            told = f"{self.weights}: damaged, or of another version"
            raise UserError(f"{told}; delete it, and the same command trains the network again") from None
        if known.spec != spec:
            raise UserError(f"{self.weights}: of another spec; train in another folder, or delete it")
        if is_old_fingerprint(known.provenance.get("data_fingerprint")):
            told = "trained by an earlier version, which looked at 64 maps of its data only"
            raise UserError(f"{self.weights}: {told}; use it as it is, train in another folder, or delete it")
        if known.provenance.get("data_fingerprint") not in fingerprints_of(suites):
            told = f"trained on other data{_told_of_simulators(known.sources, suites)}"
            raise UserError(f"{self.weights}: {told}; train in another folder, or delete it")
        self.resume.unlink(missing_ok=True)
        return self.weights

    def write_spec(self, spec: TrainSpec) -> None:
        """Say what is trained here."""
        write_text(self.spec, to_json(spec) + "\n")

    def write_history(self, history: Sequence[HistoryRow]) -> None:
        """Write what the validations found so far, as CSV.

        The file is replaced as a whole: whoever looks meanwhile finds complete rows, and a run that goes on from an
        earlier state than the last that the file tells of has no row twice.
        """
        with written_aside(self.path / "history.csv") as aside, aside.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(field.name for field in fields(HistoryRow))
            writer.writerows(astuple(row) for row in history)


def _told_of_simulators(sources: Sequence[SeenSource], suites: Sequence[Suite]) -> str:
    """Which simulator made the maps of the training and of the first source that has them of another one."""
    pairs = [(source.made_from, suite.made_from) for source, suite in zip(sources, suites, strict=True)]
    versions = [(ours.simulator, theirs.simulator) for ours, theirs in pairs if ours is not None and theirs is not None]
    told = (f" (maps of simulator {ours}, these are of {theirs})" for ours, theirs in versions if ours != theirs)
    return next(told, "")


def _is_spec(path: Path) -> bool:
    return holds_keys(path, "suite", "network", "optimiser", "n_steps")


def _is_history(path: Path) -> bool:
    return starts_with(path, "step,learning_rate,")


OURS = {"spec.json": _is_spec, "history.csv": _is_history}
"""What a run replaces, and how it is known."""
