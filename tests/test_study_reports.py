"""A whole letter in one call of Python; `test_cli` makes real ones the same way."""

import pytest

from fieldlevel import make_letter, make_robustness
from fieldlevel.errors import UserError
from fieldlevel.report import making
from fieldlevel.study.letter_data import LetterData
from fieldlevel.study.letter_spec import LetterSpec

SPEC = LetterSpec()
VERDICT = {"experiment": "e", "claim": "c", "criterion": "x > 0", "measured": "1", "letter": ""}
DOCUMENT = {
    "data_mark": "MOCK DATA",
    "verdicts": [VERDICT | {"outcome": "holds"}, VERDICT | {"outcome": "undecided"}],
}


@pytest.fixture
def steps(monkeypatch, tmp_path):
    """What is done, in its order, in the place of doing it; a letter is finished once it was written."""
    done, finished = [], []

    def replace(module, name, result):
        def do(*arguments, **_):
            done.append(name)
            return result(*arguments)

        monkeypatch.setattr(module, name, do)

    def write(folder, *_):
        finished.append(DOCUMENT)
        (folder / "metrics.json").write_text('{"title": "", "data_mark": "", "pairs": []}')
        return DOCUMENT

    replace(making, "prepare_pairs", lambda *_: LetterData(tmp_path, ("A", "B"), {}, "key of the pairs"))
    replace(making.runner, "run_pairs", lambda *_: "pairs")
    replace(making, "prepare_data", lambda *_: LetterData(tmp_path, ("A", "B"), {}, "key"))
    replace(making, "read_finished", lambda folder, *keys: next(iter(finished), None))
    replace(making.runner, "run_letter", lambda spec, data, *_: (spec, data.key))
    replace(making, "write_letter", write)
    return done


def test_a_letter_is_made_once(steps, tmp_path):
    made = make_letter(SPEC, out=tmp_path / "out", device="cpu")
    assert steps == ["prepare_pairs", "run_pairs", "prepare_data", "read_finished", "run_letter", "write_letter"]
    steps.clear()
    again = make_letter(SPEC, out=tmp_path / "out", device="cpu")
    assert steps == ["prepare_data", "read_finished"]
    assert (again.folder, again.document) == (made.folder, made.document)


def test_pairs_of_mock_suites_are_shown_before_anything_else_is_simulated(steps, tmp_path):
    shown = []
    make_letter(SPEC, out=tmp_path / "out", device="cpu", show_pairs=lambda pairs: shown.append((pairs, len(steps))))
    assert shown == [("pairs", 2)]


def test_given_data_is_looked_at_as_a_whole(steps, tmp_path):
    make_letter(SPEC, tmp_path, tmp_path / "out", device="cpu")
    assert steps == ["prepare_data", "read_finished", "run_letter", "write_letter"]


def test_what_came_of_it_is_told(steps, tmp_path):
    made = make_letter("letter", out=tmp_path / "out", device="cpu")
    assert made.page == tmp_path / "out" / "report.html"
    assert [verdict.outcome for verdict in made.verdicts] == ["holds", "undecided"]
    assert repr(made) == f"<StudyReport in {tmp_path / 'out'}, MOCK DATA: 1 of 2 claims hold>"


def test_a_study_of_robustness_finds_the_runs_of_a_letter(monkeypatch, tmp_path):
    folders = []

    def prepare(spec, data, folder, *_):
        folders.append(folder)
        return LetterData(tmp_path, ("A", "B", "C"), {}, "key")

    def run(spec, data, folder, *_):
        folders.append(folder)

    monkeypatch.setattr(making, "prepare_robustness", prepare)
    monkeypatch.setattr(making.robustness_runner, "run_robustness", run)
    monkeypatch.setattr(making.robustness_page, "write_robustness", lambda folder, results: DOCUMENT)
    made = make_robustness("half", out=tmp_path / "out", shared=tmp_path / "letter")
    assert (made.folder, made.document) == (tmp_path / "out", DOCUMENT)
    assert folders == [tmp_path / "letter"] * 2


def test_files_of_somebody_else_stay(steps, tmp_path):
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(UserError, match="was not written by this command"):
        make_letter(SPEC, out=tmp_path)
    assert steps == []


@pytest.mark.parametrize("make", [make_letter, make_robustness])
def test_scales_are_known_by_name(make, tmp_path):
    with pytest.raises(UserError, match="scale huge: there are laptop, half, letter; give one of them, or a spec"):
        make("huge", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
