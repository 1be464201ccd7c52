"""A letter is read from its predictions: without weights, on maps that were simulated anew, of an earlier version."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from fieldlevel.console import print_letter
from fieldlevel.data.map_records import digest_of_record
from fieldlevel.data.soundness import digest_of_maps
from fieldlevel.data.suite import open_suite
from fieldlevel.errors import UserError
from fieldlevel.report import read_finished, write_letter
from fieldlevel.simulate.simulation import SIMULATOR_VERSION
from fieldlevel.study.letter_data import describe_data, prepare_data
from fieldlevel.study.runner import run_letter


@pytest.fixture(scope="module")
def few(tiny_letter):
    return replace(tiny_letter, only=("mean map",), smoothing=(), k_max=(), map_trials=0, summary_trials=0)


def do(spec, out, events=()):
    data = prepare_data(spec, None, out, device="cpu")
    listener = events.append if isinstance(events, list) else lambda event: None
    return data, write_letter(out, run_letter(spec, data, out, device="cpu", listener=listener))


@pytest.fixture(scope="module", autouse=True)
def undrawn(blank_figures):
    with blank_figures():
        yield


@pytest.fixture(scope="module")
def finished(few, with_maps, tmp_path_factory):
    out = with_maps(tmp_path_factory.mktemp("letter") / "out")
    return out, *do(few, out)


@pytest.fixture
def copy(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "copy")
    return tmp_path / "copy"


def take_weights(out):
    paths = list(out.rglob("weights.safetensors"))
    assert paths
    for path in paths:
        path.unlink()


def change_records(out, change):
    (path,) = out.glob("data/*/provenance.json")
    records = json.loads(path.read_text())
    for record in records.values():
        change(path.parent, record)
    path.write_text(json.dumps(records))


def simulate_anew(out):
    """As another kind of device would: other by round-off, the same record but for the digests of the files."""

    def change(folder, record):
        for name in record["files"]:
            np.save(folder / name, np.load(folder / name) * np.float32(1 + 1e-6))
            record["files"][name] = digest_of_maps(folder / name)

    change_records(out, change)


def numbers(document):
    """Without what another run differs in."""
    return {key: value for key, value in document.items() if key not in ("provenance", "data_facts")}


def trained(events):
    return [event for event in events if ": train " in event.task]


def test_a_finished_letter_needs_no_weights(few, finished, copy):
    _, data, document = finished
    take_weights(copy)
    assert read_finished(copy, data.key) == document
    (copy / "report.html").unlink()
    assert read_finished(copy, data.key) is None
    events, before = [], (copy / "predictions.csv").read_bytes()
    _, again = do(few, copy, events)
    assert numbers(again) == numbers(document)
    assert (copy / "predictions.csv").read_bytes() == before
    assert (copy / "report.html").exists()
    assert trained(events) == []
    assert not list(copy.rglob("weights.safetensors"))


def test_what_is_to_be_predicted_anew_needs_weights(few, copy):
    take_weights(copy)
    lost = next(copy.glob("runs/test-MockTNG-on-MockSIMBA-*"))
    shutil.rmtree(lost)
    with pytest.raises(UserError, match=r"train-MockTNG-\w+: damaged \(.*\); delete it, and the same command") as error:
        do(few, copy)
    assert "\n" not in str(error.value)
    for folder in copy.glob("runs/train-MockTNG-*"):
        shutil.rmtree(folder)
    events = []
    do(few, copy, events)
    assert lost.is_dir()
    assert {event.task for event in trained(events)} == {"four pairs: train MockTNG"}


def test_a_letter_goes_on_where_its_maps_were_simulated_anew(few, finished, copy):
    _, data, document = finished
    simulate_anew(copy)
    anew = prepare_data(few, None, copy, device="cpu")
    assert anew.of("MockTNG").pixel_fingerprint != data.of("MockTNG").pixel_fingerprint
    assert read_finished(copy, anew.key, *anew.earlier) == document
    (copy / "metrics.json").unlink()
    runs, events = sorted(copy.glob("runs/*")), []
    _, again = do(few, copy, events)
    for part in ("key", "pairs", "experiments", "verdicts", "networks", "weights"):
        assert again[part] == document[part]
    assert (trained(events), sorted(copy.glob("runs/*"))) == ([], runs)


def test_a_letter_of_an_earlier_version_goes_on(few, finished, tmp_path):
    out, _, document = finished
    old = tmp_path / "old"
    shutil.copytree(out / "data", old / "data")
    (path,) = old.glob("data/*/provenance.json")
    whole = path.read_text()
    change_records(old, lambda folder, record: record.pop("files"))
    _, earlier = do(few, old)
    assert earlier["key"] != document["key"]
    path.write_text(whole)
    data = prepare_data(few, None, old, device="cpu")
    assert data.key == document["key"]
    assert read_finished(old, data.key, *data.earlier) == earlier
    (old / "metrics.json").unlink()
    runs, events = sorted(old.glob("runs/*")), []
    do(few, old, events)
    assert (trained(events), sorted(old.glob("runs/*"))) == ([], runs)


def later(_, record):
    if record["spec"]["suite"] == "MockSIMBA":
        record["simulator"] = "9"
        beside = ("digest", "fieldlevel", "torch", "runs", "files")
        record["digest"] = digest_of_record({key: record[key] for key in record if key not in beside})


def test_maps_of_two_simulators_are_told(few, finished, copy, capsys):
    _, data, document = finished
    assert describe_data(few, data)["simulator"] == f"version {SIMULATOR_VERSION}"
    change_records(copy, later)
    (folder,) = copy.glob("data/*")
    opened = {(name, "LH"): open_suite(folder, name, check=False) for name in ("MockTNG", "MockSIMBA")}
    facts = describe_data(few, replace(data, opened=opened))
    told = (
        f"maps of different simulators, {SIMULATOR_VERSION} of MockTNG, 9 of MockSIMBA: answers across them may be off"
    )
    assert facts["remark"] == told
    print_letter({**document, "data_facts": facts}, data.directory)
    assert f"note: {told}" in capsys.readouterr().out
