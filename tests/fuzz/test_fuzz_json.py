"""Records in JSON: provenance.json, plan.json, run files, journals, metrics.json, spec.json, metadata of weights."""

import json
import struct
from pathlib import Path

import pytest
from artefacts import FLAGS, LETTER_FLAGS, PROJECT, PROJECT_FLAGS, TRAIN, TUNE, copy, one_core
from contract import cases, is_finite
from hostile import byte_damage, damaged_bytes, damaged_json, json_damage
from hypothesis import strategies as st

from fieldlevel.cli import main
from fieldlevel.errors import UserError
from fieldlevel.inference.predictor import load
from fieldlevel.mapmaking.projection import project_snapshots
from fieldlevel.search.tune import tune
from fieldlevel.spec_io import from_json
from fieldlevel.training.trainer import train

MAPS = "Maps_Mtot_MockTNG_LH_z=0.00.npy"


def put(path: Path, damage, is_bytes: bool = False) -> None:
    """Damage a record where it lies."""
    content = path.read_bytes()
    path.write_bytes(damaged_bytes(content, damage) if is_bytes else damaged_json(content.decode(), damage))


def project(valid, case, *names: str, command: bool) -> None:
    paths = [copy(path, case.folder / path.name) for path in valid.snapshots]
    if command:
        case.command("project", *paths, "--out", case.out, *PROJECT_FLAGS, names=names)
    else:
        case.library(lambda: project_snapshots(paths, PROJECT, case.out, "cpu"), *names)


any_damage = st.one_of(
    json_damage.map(lambda damage: (False, damage)),
    json_damage.map(lambda damage: (False, damage)),
    byte_damage.map(lambda damage: (True, damage)),
)


@cases(10, 150, damage=any_damage, command=st.booleans())
def test_provenance_of_maps(bench, valid, damage, command):
    with bench.case("provenance.json", (damage, command)) as case:
        copy(valid.projected, case.out)
        put(case.out / "provenance.json", damage[1], damage[0])
        project(valid, case, "provenance.json", str(case.out), "out", command=command)


@cases(
    16,
    250,
    damage=any_damage,
    which=st.sampled_from(["plan.json", "run-*.json", "done-*.txt", "Maps_*.npy"]),
    command=st.booleans(),
)
def test_partial_folders(bench, valid, damage, which, command):
    with bench.case("plan.json, run files", (damage, which, command)) as case:
        copy(valid.half_projected, case.out)
        path = next(case.out.glob(f".*.partial/{which}"))
        is_json = path.suffix == ".json" and not damage[0]
        if is_json:
            put(path, damage[1])
        elif damage[0]:
            put(path, damage[1], True)
        else:
            path.write_bytes(json.dumps(damage[1][1][1], default=str).encode(errors="replace"))
        project(valid, case, path.name, ".partial", command=command)


@cases(
    16,
    250,
    damage=any_damage,
    line=st.integers(0, 60),
    how=st.sampled_from(["change", "add", "double", "drop", "swap", "no end"]),
    seeds=[
        {"damage": (False, (21094, ("extra", None))), "line": 6, "how": "change"},
        {"damage": (False, (4, ("missing", None))), "line": 4, "how": "add"},
        {"damage": (False, (25, ("value", "x"))), "line": 25, "how": "add"},
    ],
)
def test_journals(bench, valid, damage, line, how):
    with bench.case("journal.log", (damage, line, how)) as case:
        copy(valid.search, case.out)
        path = case.out / "journal.log"
        lines = path.read_bytes().splitlines(keepends=True)
        here = line % len(lines)
        text = lines[here].decode()
        changed = damaged_bytes(lines[here], damage[1]) if damage[0] else damaged_json(text, damage[1]) + b"\n"
        path.write_bytes(
            b"".join(
                {
                    "change": [*lines[:here], changed, *lines[here + 1 :]],
                    "add": [*lines[:here], changed, *lines[here:]],
                    "double": [*lines, lines[here]],
                    "drop": [*lines[:here], *lines[here + 1 :]],
                    "swap": [*lines[here:], *lines[:here]],
                    "no end": [*lines, changed.rstrip(b"\n")],
                }[how]
            )
        )
        case.library(lambda: tune(TUNE, valid.data, case.out, "cpu"), "journal.log", str(case.out), "out")


@cases(16, 250, damage=any_damage, kind=st.sampled_from(["train", "tune", "config"]), command=st.booleans())
def test_specs(bench, valid, damage, kind, command):
    with bench.case("spec.json", (damage, kind, command)) as case:
        if kind == "config":
            path = copy(valid.network / "spec.json", case.folder / "spec.json")
            put(path, damage[1], damage[0])
            case.library(lambda: from_json(type(TRAIN), path.read_text(errors="replace"), str(path)), "spec.json")
            return
        copy(valid.network if kind == "train" else valid.search, case.out)
        put(case.out / "spec.json", damage[1], damage[0])
        names = ("spec.json", str(case.out), "out")
        more = ("--n-trials", 2, "--n-kept", 1) if kind == "tune" else ()
        if command:
            case.command(kind, "--data", valid.data, "--out", case.out, *FLAGS, *more, names=names)
        elif kind == "train":
            case.library(lambda: train(TRAIN, valid.data, case.out, "cpu"), *names)
        else:
            case.library(lambda: tune(TUNE, valid.data, case.out, "cpu"), *names)


class _LetterAgainError(UserError):
    """The document was not taken, so the letter would be done again."""


def _again(*_: object, **__: object) -> None:
    raise _LetterAgainError("metrics.json: the letter is done again")


@cases(10, 200, damage=any_damage, seeds=[{"damage": (False, (78, ("missing", None)))}])
def test_finished_letters(bench, valid, damage):
    with bench.case("metrics.json", damage) as case, pytest.MonkeyPatch.context() as patch:
        copy(valid.letter, case.out)
        put(case.out / "metrics.json", damage[1], damage[0])
        patch.setattr("fieldlevel.study.runner.run_letter", _again)
        with one_core():
            case.command(
                "letter", "--data", valid.data, "--out", case.out, *LETTER_FLAGS, names=["metrics.json", str(case.out)]
            )


RECORDS = [
    "train-*/provenance.json",
    "train-*/history.csv",
    "train-*/weights.safetensors",
    "test-*/checksum.json",
    "test-*/predictions.csv",
]


@cases(
    4,
    60,
    damage=any_damage,
    which=st.sampled_from(RECORDS),
    seeds=[{"damage": (False, (0, ("value", 0))), "which": "train-*/provenance.json"}],
)
def test_runs_of_letters(bench, valid, damage, which):
    """A letter is written again from damaged runs, as where its report was taken away."""
    with bench.case("records of runs", (damage, which)) as case, pytest.MonkeyPatch.context() as patch:
        copy(valid.letter, case.out)
        (case.out / "metrics.json").unlink()
        path = next((case.out / "runs").glob(which))
        if damage[0] or path.suffix != ".json":
            path.write_bytes(damaged_bytes(path.read_bytes(), damage[1] if damage[0] else ("cut", 0.7, b"x")))
        else:
            put(path, damage[1])
        patch.setattr("fieldlevel.report.letter_files.draw_letter", lambda *_: {})
        with one_core():
            case.command(
                "letter", "--data", valid.data, "--out", case.out, *LETTER_FLAGS, names=[path.name, path.parent.name]
            )


def read_metadata(content: bytes) -> tuple[dict, bytes]:
    """Header and body of a safetensors file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(header: bytes, body: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + body


metadata_names = st.sampled_from(
    [
        "spec",
        "network",
        "normaliser",
        "labels",
        "training_simulations",
        "validation_simulations",
        "suite",
        "mock",
        "provenance",
        "format_version",
        "fieldlevel_version",
        "checksum",
    ]
)


@cases(24, 400, damage=json_damage, name=metadata_names, command=st.booleans(), summary=st.booleans())
def test_metadata_of_weights(bench, valid, damage, name, command, summary):
    with bench.case("metadata of weights", (damage, name, command, summary)) as case:
        header, body = read_metadata((valid.perceptron if summary else valid.weights).read_bytes())
        known = header["__metadata__"].get(name, "1")
        is_json = name not in ("suite", "fieldlevel_version", "format_version", "checksum")
        text = known if is_json else json.dumps(known)
        header["__metadata__"].pop("checksum", None)
        header["__metadata__"][name] = damaged_json(text, damage).decode(errors="replace")
        path = case.folder / "weights.safetensors"
        path.write_bytes(with_header(json.dumps(header).encode(), body))
        maps = copy(valid.data / MAPS, case.folder / "maps.npy")
        if command:
            case.command("infer", path, maps, "--out", case.out / "x.csv", names=[path.name])
        else:
            case.library(lambda: load(path, "cpu").predict(_maps(maps)), path.name, sensible=is_finite)


def _maps(path: Path):
    import numpy as np  # noqa: PLC0415

    return np.load(path)[:4]


@cases(16, 250, damage=json_damage, command=st.booleans())
def test_headers_of_weights(bench, valid, damage, command):
    with bench.case("headers of weights", (damage, command)) as case:
        header, body = read_metadata(valid.weights.read_bytes())
        header["__metadata__"].pop("checksum", None)
        path = case.folder / "weights.safetensors"
        path.write_bytes(with_header(damaged_json(json.dumps(header), damage), body))
        maps = copy(valid.data / MAPS, case.folder / "maps.npy")
        if command:
            case.command("shrink", path, case.out / "small.safetensors", names=[path.name])
        else:
            case.library(lambda: load(path, "cpu").predict(_maps(maps)), path.name, sensible=is_finite)


@cases(12, 250, damage=byte_damage, command=st.booleans())
def test_bytes_of_weights(bench, valid, damage, command):
    """Damaged weights are refused, or answer as the sound ones do."""
    import numpy as np  # noqa: PLC0415

    with bench.case("bytes of weights", (damage, command)) as case:
        path = case.folder / "weights.safetensors"
        path.write_bytes(damaged_bytes(valid.weights.read_bytes(), damage))
        maps = copy(valid.data / MAPS, case.folder / "maps.npy")
        if command:
            case.command("infer", path, maps, "--out", case.out / "x.csv", names=[path.name])
            return
        sound = load(valid.weights, "cpu").predict(_maps(maps))
        same = lambda found: all(map(np.array_equal, found, sound))  # noqa: E731
        case.library(lambda: load(path, "cpu").predict(_maps(maps)), path.name, sensible=same)


@cases(6, 120, damage=byte_damage)
def test_bytes_of_states(bench, valid, damage):
    from dataclasses import replace  # noqa: PLC0415

    with bench.case("bytes of resume.pt", damage) as case:
        copy(valid.unfinished, case.out)
        put(case.out / "resume.pt", damage, True)
        case.library(lambda: train(replace(TRAIN, n_steps=40), valid.data, case.out, "cpu"), "resume.pt")


def test_what_is_damaged_was_sound(valid, tmp_path):
    out = copy(valid.letter, tmp_path / "letter")
    with one_core(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("fieldlevel.study.runner.run_letter", _again)
        assert main(["letter", "--data", str(valid.data), "--out", str(out), *LETTER_FLAGS]) == 0
    header, body = read_metadata(valid.weights.read_bytes())
    header["__metadata__"].pop("checksum", None)
    (tmp_path / "weights.safetensors").write_bytes(with_header(json.dumps(header).encode(), body))
    assert is_finite(load(tmp_path / "weights.safetensors", "cpu").predict(_maps(valid.data / MAPS)))
    assert train(TRAIN, valid.data, copy(valid.network, tmp_path / "network"), "cpu").exists()
