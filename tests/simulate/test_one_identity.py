"""A mock set is one set on every device: known by version, spec and rows; a file that was touched is other data."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from fake_simulation import fake_maps

from fieldlevel.data.map_records import recorded_file
from fieldlevel.data.seen import record_seen
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import check_directory, check_distinct, directory_remarks, list_suites, open_suite
from fieldlevel.errors import DataError, UserError
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.inference.evaluating import evaluate
from fieldlevel.inference.map_files import infer_file
from fieldlevel.inference.predictor import load
from fieldlevel.search.tune import tune
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.simulate import simulation
from fieldlevel.simulate.mock_suite import plan_suites, simulate_suite
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.statistics.bootstrap import told_of_few
from fieldlevel.training.source_spec import SourceSpec
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.trainer import train
from fieldlevel.training.weights_file import content_of, read_parts

CURRENT = simulation.SIMULATOR_VERSION
SET = SimulateSpec(n_simulations=8, n_particles=8, n_mesh=8, n_pixels=16)
MAPS = "Maps_Mtot_MockTNG_LH_z=0.00.npy"
TWIN = "Maps_Mtot_Nbody_Mock_LH_z=0.00.npy"
SPEC = TrainSpec(
    split=SplitSpec(train=0.5, validation=0.25),
    network=NetworkSpec(hidden=1),
    batch_size=16,
    n_steps=4,
    statistics_batches=3,
    validate_every=2,
    head_batches=3,
)


def other_device(*given):
    """The maps as another kind of device makes them: other by round-off."""
    made = fake_maps(*given).items()
    return {name: {key: stack * np.float32(1 + 1e-6) for key, stack in maps.items()} for name, maps in made}


@pytest.fixture
def simulate(tmp_path, monkeypatch):
    def make(name, maps=fake_maps, spec=SET, version=simulation.SIMULATOR_VERSION):
        monkeypatch.setattr(simulation, "simulate_maps", maps)
        monkeypatch.setattr(simulation, "SIMULATOR_VERSION", version)
        return simulate_suite(spec, tmp_path / name, device="cpu")

    return make


@pytest.fixture
def here(simulate):
    return simulate("here")


@pytest.fixture
def there(simulate):
    return simulate("there", other_device)


def opened(folder, suite="MockTNG"):
    return open_suite(folder, suite, check=False)


def change_a_pixel(path):
    maps = np.lib.format.open_memmap(path, mode="r+")
    maps[-1, 3, 4] *= np.float32(1 + 1e-6)
    maps.flush()


def change_record(folder, change, name="MockTNG_LH"):
    path = folder / "provenance.json"
    record = json.loads(path.read_text())
    change(record[name])
    path.write_text(json.dumps(record))


def as_an_earlier_version(folder):
    """Its records had no digests of the files."""
    change_record(folder, lambda record: record.pop("files"))
    return folder


def test_a_set_is_one_on_two_devices_and_in_two_folders(here, there):
    assert not np.array_equal(np.load(here / MAPS), np.load(there / MAPS))
    for suite in ("MockTNG", "Nbody_Mock"):
        one, other = opened(here, suite), opened(there, suite)
        assert one.fingerprint == other.fingerprint != one.pixel_fingerprint != other.pixel_fingerprint
        assert one.made_from == other.made_from
        assert one.made_from.digest == {plan.suite: plan for plan in plan_suites(SET)}[suite].digest
        assert one.made_from.simulator == simulation.SIMULATOR_VERSION
    assert opened(here).fingerprint != opened(here, "Nbody_Mock").fingerprint
    assert not any("damaged" in each for each in directory_remarks(there))


ALIKE = SimulateSpec(("MockAstrid", "MockEAGLE"), n_simulations=1, n_particles=16, n_mesh=16, n_pixels=16, twin=False)
"""No haloes: these models differ in nothing."""
EAGLE = "Maps_Mtot_MockEAGLE_LH_z=0.00.npy"


@pytest.fixture
def alike(tmp_path):
    folder = simulate_suite(ALIKE, tmp_path / "alike", device="cpu")
    assert np.array_equal(np.load(folder / EAGLE), np.load(folder / EAGLE.replace("EAGLE", "Astrid")))
    return folder


def test_suites_that_are_simulated_alike_are_two_by_their_records(alike):
    assert check_directory(alike) == []
    (told,) = (each for each in directory_remarks(alike) if "hold the same maps: 0 = 0" in each)
    assert "so they were simulated" in told
    check_distinct(list_suites(alike))


def test_suites_of_the_same_maps_without_a_record_are_one(alike):
    change_record(alike, lambda record: record.clear(), "MockEAGLE_LH")
    with pytest.raises(DataError, match="copy under another name"):
        check_distinct(list_suites(alike))


def test_a_copy_in_the_place_of_a_suite_that_was_recorded_is_no_suite(simulate):
    folder = simulate("copied", spec=ALIKE)
    check_distinct(list_suites(folder))
    shutil.copyfile(folder / EAGLE.replace("EAGLE", "Astrid"), folder / EAGLE)
    with pytest.raises(DataError, match="copy under another name"):
        check_distinct(list_suites(folder))


FINER = replace(SET, n_particles=16, n_mesh=16)


@pytest.mark.parametrize(("spec", "version"), [(replace(SET, n_neighbours=3), "2"), (FINER, "2"), (SET, "9")])
def test_another_spec_or_version_is_another_set(here, simulate, spec, version):
    other = simulate("other", spec=spec, version=version)
    assert opened(other).fingerprint != opened(here).fingerprint
    assert opened(other).pixel_fingerprint == opened(here).pixel_fingerprint


def test_labels_are_part_of_the_identity(here):
    suite = opened(here)
    assert suite.with_permuted_labels(np.arange(8), seed=1).fingerprint != suite.fingerprint


def test_one_pixel_of_a_damaged_file_makes_it_other_data_and_is_told(here):
    before, twin = opened(here).fingerprints, opened(here, "Nbody_Mock").fingerprint
    change_a_pixel(here / MAPS)
    after = opened(here)
    assert len(before) == 2
    assert after.fingerprint == after.pixel_fingerprint
    assert after.fingerprint not in before
    assert after.made_from is None
    assert any(MAPS in each and "damaged or exchanged since" in each for each in directory_remarks(here))
    assert opened(here, "Nbody_Mock").fingerprint == twin


def test_an_exchanged_file_is_other_data(here, simulate):
    other = simulate("other", spec=replace(SET, suites=("MockSIMBA",)))
    shutil.copyfile(other / "Maps_Mtot_MockSIMBA_LH_z=0.00.npy", here / MAPS)
    suite = opened(here)
    assert suite.fingerprint == suite.pixel_fingerprint
    assert suite.made_from is None


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(simulator="9"),
        lambda record: record["spec"].update(n_particles=512),
        lambda record: record.update(digest="0" * 12),
        lambda record: record.update(origin="CAMELS"),
        lambda record: record.update(files=[MAPS]),
        lambda record: record.update(files={MAPS: 3}),
        lambda record: record.update(files={MAPS: {}}),
        lambda record: record.update(files={}),
        lambda record: record.pop("simulator"),
        lambda record: record.clear(),
    ],
)
def test_a_record_that_was_changed_is_not_believed(here, change):
    change_record(here, change)
    suite = opened(here)
    assert suite.fingerprint == suite.pixel_fingerprint
    assert suite.made_from is None


@pytest.mark.parametrize("content", [None, b"", b"[]", b"[" * 9999, b"\xff", b'{"MockTNG_LH": 3}'])
def test_without_a_record_maps_are_known_by_their_pixels(here, content):
    (here / "provenance.json").unlink()
    if content is not None:
        (here / "provenance.json").write_bytes(content)
    assert opened(here).fingerprints == (opened(here).pixel_fingerprint,)
    assert recorded_file(opened(here).files) is None


def test_an_earlier_record_tells_the_version_alone(here):
    suite = opened(as_an_earlier_version(here))
    assert suite.fingerprint == suite.pixel_fingerprint
    assert suite.made_from.simulator == simulation.SIMULATOR_VERSION
    (here / TWIN).rename(here / TWIN.replace("Nbody_Mock", "Nbody_MockTNG"))
    assert opened(here, "Nbody_MockTNG").made_from == suite.made_from


def test_what_was_seen_is_kept_of_the_pixels_that_were(here, there):
    ours, theirs = (record_seen(opened(folder), np.arange(3)) for folder in (here, there))
    assert ours.parameters == theirs.parameters
    assert not ours.digests & theirs.digests


def test_a_training_goes_on_where_its_maps_were_simulated_anew(here, there, tmp_path):
    weights = train(SPEC, here, tmp_path / "network", "cpu")
    changed = weights.stat().st_mtime_ns
    assert train(SPEC, there, tmp_path / "network", "cpu") == weights
    assert weights.stat().st_mtime_ns == changed
    change_a_pixel(there / MAPS)
    with pytest.raises(UserError, match="trained on other data"):
        train(SPEC, there, tmp_path / "network", "cpu")


def stop_after(step):
    def listen(event):
        if event.total == 40 and event.done >= step:
            raise KeyboardInterrupt

    return listen


def test_an_interrupted_training_goes_on_where_its_maps_were_simulated_anew(here, there, tmp_path):
    longer = replace(SPEC, n_steps=40)
    for folder, is_earlier in ((there, False), (here, True)):
        out = tmp_path / f"network {is_earlier}"
        if is_earlier:
            shutil.copytree(here, tmp_path / "before")
            as_an_earlier_version(tmp_path / "before")
        begun_with = tmp_path / "before" if is_earlier else here
        with pytest.raises(KeyboardInterrupt):
            train(longer, begun_with, out, "cpu", stop_after(20))
        assert (out / "resume.pt").exists()
        steps = []
        train(longer, folder, out, "cpu", lambda event, steps=steps: steps.append((event.done, event.total)))
        first = min(done for done, total in steps if total == 40)
        assert first > longer.validate_every  # of which a slow disk keeps few; one that begins anew tells of the first


def test_runs_of_earlier_versions_go_on_with_the_same_pixels(here, there, tmp_path):
    shutil.copytree(here, tmp_path / "before")
    as_an_earlier_version(tmp_path / "before")
    weights = train(SPEC, tmp_path / "before", tmp_path / "network", "cpu")
    assert load(weights, "cpu").provenance["data_fingerprint"] == opened(here).pixel_fingerprint
    assert train(SPEC, here, tmp_path / "network", "cpu") == weights
    with pytest.raises(UserError, match="trained on other data"):
        train(SPEC, there, tmp_path / "network", "cpu")


def test_a_training_on_maps_of_another_simulator_says_so(here, simulate, tmp_path):
    train(SPEC, here, tmp_path / "network", "cpu")
    with pytest.raises(UserError, match=r"other data \(maps of simulator 3, these are of 9\); train in another folder"):
        train(SPEC, simulate("later", version="9"), tmp_path / "network", "cpu")


def test_a_search_goes_on_where_its_maps_were_simulated_anew(here, there, tmp_path):
    shutil.copytree(here, tmp_path / "before")
    as_an_earlier_version(tmp_path / "before")
    for name, begun, then in (("one", here, there), ("two", tmp_path / "before", here)):
        tune(TuneSpec(train=SPEC, n_trials=1), begun, tmp_path / name, "cpu")
        tune(TuneSpec(train=SPEC, n_trials=2), then, tmp_path / name, "cpu")
        assert len((tmp_path / name / "trials.csv").read_text().splitlines()) == 3
    change_a_pixel(there / MAPS)
    with pytest.raises(UserError, match="search on other data"):
        tune(TuneSpec(train=SPEC, n_trials=2), there, tmp_path / "one", "cpu")


def without_record(weights, to):
    """As an earlier version wrote weights, or the packaged networks."""
    metadata, state = read_parts(weights)
    del metadata["made_from"]
    to.write_bytes(content_of(state, metadata))
    return to


OFF = "trained on maps of simulator {}, these are of simulator {}: answers may be off"


def test_weights_keep_what_their_maps_were_made_from_and_mismatches_are_told(here, simulate, tmp_path):
    weights = train(SPEC, here, tmp_path / "network", "cpu")
    old = without_record(weights, tmp_path / "old.safetensors")
    earlier, later = simulate("earlier", version="2"), simulate("later", version="9")
    predictor = load(weights, "cpu")
    assert predictor.made_from == predictor.sources[0].made_from == opened(here).made_from
    assert load(old, "cpu").made_from.simulator == "2 or before"
    cases = [
        (weights, here, ()),
        (old, earlier, ()),
        (weights, later, ((CURRENT, "9"),)),
        (old, here, (("2 or before", CURRENT),)),
        (old, later, (("2 or before", "9"),)),
    ]
    n_tested = len(SPEC.split.divide(opened(here).n_simulations).test)
    for number, (file, data, expected) in enumerate(cases):
        told = tuple(OFF.format(*versions) for versions in expected)
        known, suite, out = load(file, "cpu"), opened(data), tmp_path / str(number)
        out.mkdir()
        document = evaluate(known, suite, out=out).document
        *remarks, few = document["remarks"]
        assert tuple(remarks) == told and few == f"tested on {told_of_few(n_tested)}"
        found = infer_file(file, data / MAPS, tmp_path / "answers.csv", "cpu")
        assert found.remarks == told
        assert all(each in (tmp_path / "answers.csv").read_text() for each in told)
        copy = tmp_path / "mine.npy"
        shutil.copyfile(data / MAPS, copy)
        assert infer_file(file, copy, tmp_path / "answers.csv", "cpu").remarks == ()


def test_maps_that_were_seen_are_known_on_another_device(here, there, tmp_path):
    weights = train(SPEC, here, tmp_path / "network", "cpu")
    numbers = load(weights, "cpu").sources[0].numbers
    expected = sorted(15 * number + place for number in numbers for place in range(15))
    assert infer_file(weights, here / MAPS, tmp_path / "a.csv", "cpu").seen.tolist() == expected
    assert infer_file(weights, there / MAPS, tmp_path / "a.csv", "cpu").seen.tolist() == expected
    assert infer_file(weights, there / TWIN, tmp_path / "a.csv", "cpu").seen.tolist() == []
    change_a_pixel(there / MAPS)
    assert infer_file(weights, there / MAPS, tmp_path / "a.csv", "cpu").seen.tolist() == []


def test_sources_of_two_simulators_are_told(simulate, tmp_path):
    folder = simulate("both")
    simulate("both", spec=replace(SET, suites=("MockSIMBA",), twin=False), version="9")
    sources = (SourceSpec("MockTNG"), SourceSpec("MockSIMBA", labelled=False))
    predictor = load(train(replace(SPEC, sources=sources), folder, tmp_path / "network", "cpu"), "cpu")
    ours = CURRENT
    assert [source.made_from.simulator for source in predictor.sources] == [ours, "9"]
    assert f"trained on maps of different simulators, {ours} and 9" in predictor.remarks


def test_weights_of_maps_without_a_record_say_nothing_of_it(here, simulate, tmp_path):
    (here / "provenance.json").unlink()
    predictor = load(train(SPEC, here, tmp_path / "network", "cpu"), "cpu")
    assert predictor.made_from is None
    assert predictor.remarks_on(opened(simulate("later", version="9")).made_from) == ()
