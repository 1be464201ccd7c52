"""Tables of text: parameter files, --parameters, predictions.csv, trials.csv, history.csv."""

import numpy as np
import pytest
from artefacts import LETTER_FLAGS, N_SIMULATIONS, PROJECT_FLAGS, copy, one_core
from contract import cases, is_finite
from hostile import HUGE, byte_damage, damaged_bytes
from hypothesis import strategies as st

from fieldlevel.data.suite import open_suite
from fieldlevel.search.trial_tables import best_trial, read_trials
from fieldlevel.simulate.sets import rows_of_set
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.statistics.predictions import Predictions

WORDS = [
    "nan",
    "inf",
    "-inf",
    "NaN",
    "1e999",
    "-1",
    "0",
    "1e308",
    "1e-320",
    "5",
    "x",
    "",
    ",",
    ";",
    "\t",
    "0x1p-2",
    "1_0",
    "١",
    "0,3",
    "0.3,",
    '"0.3"',
    "'0.3'",
    "1e",
    "--",
    "None",
    "True",
    "1+2j",
    "\0",
    "\x1b[31m",
    "#",
    "# 0.3",
    "0.3 0.3",
    "\n",
    "\r",
    "\x85",
    "\u2028",
    "\ufeff",
    "é",
    HUGE,
    "A" * 100_000,
    "=1+1",
    "1e5000",
    "0.30000000000000000000000000000000001",
    "9" * 400,
    "-0",
    "+0.3",
    ".3",
    "3.",
    "1d0",
    "0.3f",
    "\\",
    "%",
    "{}",
    "[bold]",
    "1e-5",
    "1000000",
]
STRUCTURES = [
    "drop row",
    "double row",
    "add row",
    "drop column",
    "add column",
    "empty",
    "only comments",
    "header",
    "reverse",
    "no end",
    "one line",
    "crlf",
    "bom",
    "utf-16",
    "latin-1",
    "blank lines",
    "commas",
    "huge",
]

damages = st.one_of(
    st.tuples(st.just("word"), st.sampled_from(WORDS), st.integers(0, 200)),
    st.tuples(st.just("word"), st.sampled_from(WORDS), st.integers(0, 200)),
    st.tuples(st.just("structure"), st.sampled_from(STRUCTURES), st.integers(0, 20)),
    st.tuples(st.just("bytes"), byte_damage, st.just(0)),
)


def damaged_table(text: str, damage, blank: str = " ") -> bytes:
    """A table after one change."""
    how, what, where = damage
    rows = [line.split(blank) for line in text.splitlines()]
    row, column = where % len(rows), where % len(rows[0])
    if how == "bytes":
        return damaged_bytes(text.encode(), what)
    if how == "word":
        rows[row][column] = what
    join = lambda rows, blank=blank: "\n".join(blank.join(row) for row in rows) + "\n"  # noqa: E731
    if how == "word":
        return join(rows).encode(errors="surrogatepass")
    return {
        "drop row": lambda: join(rows[:row] + rows[row + 1 :]).encode(),
        "double row": lambda: join([*rows, rows[row]]).encode(),
        "add row": lambda: join([*rows, ["0.3"] * len(rows[0])]).encode(),
        "drop column": lambda: join([r[:column] + r[column + 1 :] for r in rows]).encode(),
        "add column": lambda: join([[*r, "7"] for r in rows]).encode(),
        "empty": lambda: b"",
        "only comments": lambda: b"# nothing\n# here\n",
        "header": lambda: b"Omega_m sigma_8 A_SN1 A_AGN1 A_SN2 A_AGN2\n" + text.encode(),
        "reverse": lambda: join(rows[::-1]).encode(),
        "no end": lambda: text.rstrip().encode()[: len(text) - 4],
        "one line": lambda: text.replace("\n", blank).encode(),
        "crlf": lambda: text.replace("\n", "\r\n").encode(),
        "bom": lambda: text.encode("utf-8-sig"),
        "utf-16": lambda: text.encode("utf-16"),
        "latin-1": lambda: ("# é\n" + text).encode("latin-1"),
        "blank lines": lambda: text.replace("\n", "\n\n").encode(),
        "commas": lambda: text.replace(blank, ",").encode(),
        "huge": lambda: text.encode() * 3000,
    }[what]()


@cases(20, 300, damage=damages, target=st.sampled_from(["check", "list", "open", "train"]))
def test_parameter_files(bench, valid, damage, target):
    with bench.case("parameter files", (damage, target)) as case:
        data = copy(valid.data, case.folder / "data")
        path = data / "params_LH_MockTNG.txt"
        path.write_bytes(damaged_table(path.read_text(), damage))
        if target == "check":
            case.command("check", data)
        elif target == "list":
            case.check(data)
        elif target == "open":
            opened = lambda: open_suite(data, "MockTNG", check=False).parameters  # noqa: E731
            case.library(opened, path.name, "MockTNG", sensible=is_finite)
        else:
            case.command("train", "--data", data, "--n-steps", 0, "--out", case.out)


@cases(20, 300, damage=damages, target=st.sampled_from(["rows", "simulate", "project"]), seeded=st.booleans())
def test_tables_of_the_user(bench, valid, damage, target, seeded):
    with bench.case("--parameters", (damage, target, seeded)) as case:
        path = case.folder / "table.txt"
        rows = [f"0.3 0.8 1 1 1 {1 + n / 10:g}" + (f" {n}" if seeded else "") for n in range(3)]
        path.write_bytes(damaged_table("\n".join(rows) + "\n", damage))
        if target == "rows":
            spec = SimulateSpec(set_name="mine", parameters=str(path))
            case.library(
                lambda: [row.parameters for row in rows_of_set(spec, "MockTNG")], path.name, sensible=is_finite
            )
        elif target == "simulate":
            flags = (
                "--n-particles",
                8,
                "--n-mesh",
                8,
                "--n-pixels",
                8,
                "--n-simulations",
                1,
                "--device",
                "cpu",
                "--workers",
                1,
            )
            names = [path.name, "n_pixels", "n_simulations"]
            case.command("simulate", "--set", "mine", "--parameters", path, *flags, "--out", case.out, names=names)
        else:
            paths = [copy(snapshot, case.folder / snapshot.name) for snapshot in valid.snapshots]
            case.command("project", *paths, "--parameters", path, "--out", case.out, *PROJECT_FLAGS, names=[path.name])


def _predictions() -> Predictions:
    rng = np.random.default_rng(0)
    theta = rng.uniform(0.2, 0.4, (15, 6))
    return Predictions(theta, theta + 0.01, np.full((15, 6), 0.1), np.zeros(15, int), np.arange(15))


@cases(16, 250, damage=damages)
def test_predictions(bench, valid, damage):
    with bench.case("predictions.csv", damage) as case:
        path = case.folder / "predictions.csv"
        _predictions().write_csv(path)
        path.write_bytes(damaged_table(path.read_text(), damage, ","))
        read = lambda: Predictions.read_csv(path)  # noqa: E731
        case.library(read, path.name, sensible=lambda found: is_finite([found.mean, found.std, found.theta]))


@cases(12, 200, damage=damages)
def test_trials(bench, valid, damage):
    with bench.case("trials.csv", damage) as case:
        copy(valid.search, case.folder / "search")
        path = case.folder / "search" / "trials.csv"
        path.write_bytes(damaged_table(path.read_text(), damage, ","))
        read = lambda: (read_trials(path.parent), best_trial(path.parent))  # noqa: E731
        case.library(read, path.name, "search")


@cases(4, 40, damage=damages)
def test_histories(bench, valid, damage):
    with bench.case("history.csv", damage) as case, pytest.MonkeyPatch.context() as patch:
        copy(valid.letter, case.out)
        (case.out / "metrics.json").unlink()
        path = next((case.out / "runs").glob("train-*/history.csv"))
        path.write_bytes(damaged_table(path.read_text(), damage, ","))
        patch.setattr("fieldlevel.report.letter_files.draw_letter", lambda *_: {})
        with one_core():
            case.command(
                "letter", "--data", valid.data, "--out", case.out, *LETTER_FLAGS, names=[path.name, path.parent.name]
            )


def test_what_is_damaged_was_sound(valid):
    assert len(open_suite(valid.data, "MockTNG").parameters) == N_SIMULATIONS
