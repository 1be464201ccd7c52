import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from fieldlevel.data.split import SplitSpec
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.errors import DataError, UserError
from fieldlevel.figures.style import save_figure, save_plot
from fieldlevel.inference.evaluation import predict_suite
from fieldlevel.inference.predictor import load
from fieldlevel.report import read_finished, write_letter
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.spec_io import from_json
from fieldlevel.study import letter_plan as letter
from fieldlevel.study.experiments.null_tests import NULL_TESTS
from fieldlevel.study.finished import forget_letter
from fieldlevel.study.keys import FIRST, ExperimentKey
from fieldlevel.study.letter_data import prepare_data
from fieldlevel.study.runner import run_letter
from fieldlevel.study.store import Store
from fieldlevel.training.train_spec import TrainSpec

TWIN = "Nbody_Mock"
SAVED = ("fig1_maps", "fig2_four_pairs", "training_history")


def save_most(figure, stem):
    """All as PDF, some as PNG for light pages; for dark ones, which cost as much, all are drawn as PNG."""
    if stem.name in SAVED:
        return save_figure(figure, stem)
    pdf, png = (stem.with_name(f"{stem.name}.{ending}") for ending in ("pdf", "png"))
    save_plot(figure, pdf)
    save_plot(Figure((2, 1)), png)
    return pdf, png


@pytest.fixture(scope="module")
def finished(tiny_letter, with_maps, tmp_path_factory):
    out = with_maps(tmp_path_factory.mktemp("letter"))
    data = prepare_data(tiny_letter, None, out, device="cpu")
    run = run_letter(tiny_letter, data, out, device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fieldlevel.report.drawn_plates.save_figure", save_most)
        return out, data, run, write_letter(out, run)


def test_four_pairs_are_tested_on_the_test_simulations_of_the_split(finished):
    _, data, run, _ = finished
    assert [(pair.train_suite, pair.test_suite) for pair in run.pairs] == [
        ("MockTNG", "MockTNG"),
        ("MockTNG", "MockSIMBA"),
        ("MockSIMBA", "MockSIMBA"),
        ("MockSIMBA", "MockTNG"),
    ]
    order = np.arange(10)
    np.random.RandomState(1).shuffle(order)
    for pair in run.pairs:
        assert sorted(set(pair.predictions.simulation)) == sorted(order[8:])
        truth = data.of(pair.test_suite).parameters[pair.predictions.simulation]
        np.testing.assert_array_equal(pair.predictions.theta, truth)


def test_twins_are_tested_where_they_are_there(finished):
    _, _, run, _ = finished
    own = ["MockTNG", "MockSIMBA", "Nbody_Mock"]
    assert [pair.train_suite for pair in run.matrix if not pair.crosses_suites] == own
    assert (
        list(run.transfer)
        == [pair.name for pair in run.matrix if pair.crosses_suites]
        == [
            "MockTNG → MockSIMBA",
            "MockSIMBA → MockTNG",
            "MockTNG → Nbody_Mock",
            "MockSIMBA → Nbody_Mock",
            "Nbody_Mock → MockTNG",
            "Nbody_Mock → MockSIMBA",
        ]
    )


def test_outputs_are_complete_and_say_mock(finished):
    out, data, _, document = finished
    assert json.loads((out / "metrics.json").read_text()) == document
    assert document["data_mark"] == "MOCK DATA"
    assert "MOCK DATA" in (out / "report.html").read_text()
    for stem in SAVED:
        assert (out / "figures" / f"{stem}.pdf").stat().st_size > 1000
        assert (out / "figures" / f"{stem}.png").stat().st_size > 1000
    lines = (out / "predictions.csv").read_text().splitlines()
    own, numerics, one_parameter = [], [], []
    for label, pairs in document["experiments"].items():
        of_label = {"numerics": numerics, "one parameter at a time": one_parameter}
        of_label.get(label.partition(",")[0], own).extend(pairs)
    assert len(own) == 39  # tests of thirteen experiments; two simulations and their maps each
    assert {pair["n_maps"] for pair in own} == {2 * 15}
    assert {pair["n_maps"] for pair in numerics} == {4 * 15}  # all simulations of a hypercube of their own
    assert [pair["n_maps"] for pair in one_parameter] == [13 * 15] * 4  # three values of six parameters, one seed
    assert len(lines) == 1 + 15 * (2 * len(own) + 4 * len(numerics) + 13 * len(one_parameter))
    assert all(line.startswith("MOCK DATA,") for line in lines[1:])
    assert (out / document["weights"]["MockTNG"]).exists()
    assert read_finished(out, data.key) == document


def test_what_the_searches_found_is_trained(finished):
    out, _, run, document = finished
    assert [len(search.trials) for search in run.searches.values()] == [2] * 4
    trained = [from_json(TrainSpec, path.read_text()) for path in (out / "runs").glob("train-*/spec.json")]
    for (inputs, suite), search in run.searches.items():
        assert any(spec == search.best for spec in trained), (inputs, suite)
        value = float(search.best_trial["value"])
        assert value == min(float(trial["value"]) for trial in search.trials if trial["state"] == "complete")
        assert run.losses[FIRST if inputs == "maps" else ExperimentKey(inputs)][suite] == pytest.approx(value)
    assert [(facts["inputs"], facts["suite"]) for facts in document["searches"]] == list(run.searches)
    assert (out / "figures" / "search_power_spectrum_MockTNG.pdf").exists()


def test_every_network_and_the_whole_spec_are_told(finished, tiny_letter):
    _, _, run, document = finished
    assert document["spec"]["train"]["network"]["hidden"] == tiny_letter.train.network.hidden
    told = [(facts["experiment"], facts["suite"]) for facts in document["networks"]]
    assert len(told) == len(set(told)) == len({net.weights for nets in run.trained.values() for net in nets.values()})
    untrained = {*(test.kind for test in NULL_TESTS), "hydro to N-body", "one parameter at a time"}
    untrained |= {key.label for key in run.experiments if key.label.startswith("numerics, ")}
    assert {name for name, _ in told} == {key.label for key in run.experiments} - untrained
    assert all(
        facts["settings"].startswith(("h = ", "1 x ", "2 x ", "3 x ", "4 x ", "5 x ")) for facts in document["networks"]
    )


@pytest.mark.parametrize("damage", ["cut short", "no checksum"])
def test_damaged_predictions_are_refused(tiny_letter, finished, tmp_path, damage):
    out, data, _, _ = finished
    shutil.copytree(out, tmp_path / "copy")
    folder = next((tmp_path / "copy" / "runs").glob("test-MockTNG-on-MockSIMBA-*"))
    if damage == "cut short":
        text = (folder / "predictions.csv").read_text()
        (folder / "predictions.csv").write_text(text[:-4])
    else:
        (folder / "checksum.json").unlink()
    with pytest.raises(UserError, match=r"predictions.csv: changed or damaged .* delete .*test-MockTNG-on-MockSIMBA"):
        run_letter(tiny_letter, data, tmp_path / "copy", device="cpu")


@pytest.mark.parametrize("text", ["{", "[1, 2", "", "{}"])
def test_a_damaged_document_is_no_finished_letter(finished, tmp_path, text):
    out, data, _, _ = finished
    shutil.copytree(out, tmp_path / "copy")
    (tmp_path / "copy" / "metrics.json").write_text(text)
    assert read_finished(tmp_path / "copy", data.key) is None


def test_figures_of_an_earlier_letter_are_taken_away(tiny_letter, finished, blank_figures, tmp_path):
    out, data, _, document = finished
    shutil.copytree(out, tmp_path / "copy")
    run = run_letter(tiny_letter, data, tmp_path / "copy", device="cpu")
    fewer = replace(run, experiments={FIRST: run.experiments[FIRST]}, searches={})
    with blank_figures():
        after = write_letter(tmp_path / "copy", fewer)
    assert set(after["figures"]) < set(document["figures"])
    assert {f"figures/{path.name}" for path in (tmp_path / "copy" / "figures").iterdir()} == set(after["figures"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": 0}, "seeds = 0: allowed are numbers from 1"),
        ({"map_trials": -3}, "map_trials = -3"),
        ({"smoothing": (1.0, -1.0)}, r"smoothing = \(1.0, -1.0\): allowed are positive numbers"),
        ({"k_max": (float("nan"),)}, "k_max"),
        ({"k_max": (3.0,)}, "k_max: 3 h/Mpc, but maps of 16 x 16 pixels end at 2.84 h/Mpc"),
        ({"only": ("nonsense",)}, "only: no experiment 'nonsense'; choose from 'four pairs'"),
        ({"train": TrainSpec(labels="permuted")}, "train.labels: permuted; every experiment"),
        ({"train": TrainSpec(transform=TransformSpec("smoothing", 2.0))}, "train.transform: changed"),
        ({"train": TrainSpec(inputs="power spectrum")}, "train.inputs: power spectrum"),
        ({"summary": TrainSpec(inputs="maps")}, "summary.inputs: maps"),
        ({"train": TrainSpec(n_steps=0)}, r"train\.n_steps = 0"),
        ({"only": ("",)}, "only: no experiment ''"),
        ({"k_max": (2.0, 2.0)}, "k_max = .* each once"),
        ({"smoothing": (2.0, 2.0000000001)}, "smoothing = .* each once"),
        ({"k_max": (1e-9,)}, "k_max: 1e-09 h/Mpc, but .* nothing but the mean would be left"),
        ({"smoothing": (1e9,)}, r"smoothing: 1e\+09 pixels, but .* nothing but the mean would be left"),
        ({"suites": ("Nbody_Mock", "Nbody_SIMBA")}, "name MockTNG MockSIMBA MockAstrid MockEAGLE SIMBA"),
        ({"suites": ("MockTNG", "Nbody_Mock")}, "suites with baryons are compared.*name MockTNG MockSIMBA MockAstrid"),
        ({"suites": ("MockTNG", "MockSIMBA", "Nbody_Mock")}, "name MockTNG MockSIMBA$"),
        ({"suites": ("MockTNG", "MockSIMBA", "MockTNG")}, "name two different suites"),
        ({"suites": ("MockTNG", "=cmd")}, "must be letters and digits"),
        ({"train": TrainSpec(suite="MockSIMBA")}, "train.suite: MockSIMBA; every experiment"),
        ({"simulate": SimulateSpec(("MockSIMBA",))}, "simulate.suites: changed"),
        ({"seeds": 10**9}, "seeds = 1000000000: allowed"),
        ({"summary_trials": 10**9}, "summary_trials = 1000000000: allowed"),
        ({"seeds": 2, "train": TrainSpec(seed=2**63 - 1)}, r"2 seeds from it on pass 2\^63"),
        (
            {"train": TrainSpec(split=SplitSpec(train=0.6, validation=0.2), batch_size=300)},
            r"train\.batch_size = 300: there are 90 training maps",
        ),
    ],
)
def test_letters_that_cannot_be_are_refused_before_any_work(tiny_letter, tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        prepare_data(replace(tiny_letter, **changes), None, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_half_written(finished):
    out, *_ = finished
    assert [path for path in out.rglob("*") if path.name.startswith(".") or path.name == "resume.pt"] == []


def test_running_again_does_no_work(finished, tiny_letter):
    out, data, run, _ = finished
    stamps = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*")}
    tasks = set()
    again = run_letter(tiny_letter, data, out, device="cpu", listener=lambda event: tasks.add(event.task))
    assert stamps == {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*")}
    assert not any("train" in task or "simulate" in task for task in tasks)
    assert again.pairs[1].scores == run.pairs[1].scores


def test_networks_are_the_same_however_many_are_trained_at_once(finished, tiny_letter, tmp_path):
    """Two processes; every experiment that needs a network of its own says so in its progress."""
    _, data, run, _ = finished
    small = replace(
        tiny_letter,
        only=("power spectrum", "one-point PDF", "N-body to hydro", "permuted labels", "four pairs, LHthinned"),
    )
    tasks, shown = set(), []
    twice = run_letter(small, data, tmp_path, "cpu", lambda event: tasks.add(event.task), shown.append, workers=2)
    for name, results in twice.experiments.items():
        for one, other in zip(results, run.experiments[name], strict=True):
            np.testing.assert_array_equal(one.predictions.mean, other.predictions.mean)
    assert [pair.name for pair in shown[0]] == [pair.name for pair in run.pairs]
    trained = {task.split(":")[0] for task in tasks if ": train " in task}
    assert trained == {
        "four pairs", "four pairs, LHthinned", "power spectrum", "one-point PDF", "N-body to hydro", "permuted labels",
    }  # fmt: skip


def test_another_spec_or_other_data_is_another_letter(finished, tiny_letter):
    out, data, _, _ = finished
    longer = replace(tiny_letter, train=replace(tiny_letter.train, n_steps=7))
    assert prepare_data(longer, data.directory, out).key != data.key
    assert read_finished(out, "another key") is None


def test_one_suite_under_two_names_is_no_letter(finished, tiny_letter, tmp_path):
    _, data, _, _ = finished
    copy = tmp_path / "data"
    shutil.copytree(data.directory, copy)
    for name in ("Maps_Mtot_{}_LH_z=0.00.npy", "params_LH_{}.txt"):
        shutil.copyfile(copy / name.format("MockTNG"), copy / name.format("MockTNGB"))
        (copy / name.format("MockSIMBA")).unlink()
    spec = replace(tiny_letter, suites=("MockTNG", "MockTNGB"))
    with pytest.raises(UserError):
        run_letter(spec, prepare_data(spec, copy, tmp_path / "out", device="cpu"), tmp_path / "out", device="cpu")
    for name in ("Maps_Mtot_{}_LH_z=0.00.npy", "params_LH_{}.txt"):
        (copy / name.format("MockTNGB")).rename(copy / name.format("MockSIMBA"))
    prepared = prepare_data(tiny_letter, copy, tmp_path / "out", device="cpu")
    with pytest.raises(DataError, match="hold the same maps"):
        run_letter(tiny_letter, prepared, tmp_path / "out", device="cpu")
    assert not list((tmp_path / "out").rglob("weights.safetensors"))


def test_an_interrupted_letter_continues(finished, tiny_letter, tmp_path):
    """Stopped in the second network: the first is kept, the second goes on, the predictions are the same."""
    _, data, run, _ = finished
    pairs = replace(tiny_letter, only=("four pairs",))

    def stop(event):
        if event.task == "four pairs: train MockSIMBA" and event.done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_letter(pairs, data, tmp_path, device="cpu", listener=stop)
    assert len(list((tmp_path / "runs").glob("train-MockTNG-*"))) == 1
    assert len(list((tmp_path / "runs").glob("train-MockSIMBA-*"))) == 0
    resumed = run_letter(pairs, data, tmp_path, device="cpu")
    for pair, expected in zip(resumed.pairs, run.pairs, strict=True):
        np.testing.assert_array_equal(pair.predictions.mean, expected.predictions.mean)


@pytest.mark.parametrize("name", ["MockTNG", "MockSIMBA", "Nbody_Mock"])
def test_seen_simulations_and_their_twins_and_siblings_are_refused(finished, name):
    out, data, _, document = finished
    with pytest.raises(UserError, match="the network was trained or validated on 8 of the 10 simulations"):
        predict_suite(load(out / document["weights"]["MockTNG"]), data.of(name), "all")


def test_all_simulations_of_another_suite_are_tested_where_they_are_other_universes(finished):
    """Row i of every mock suite is one universe; those of a hypercube of its own were never seen."""
    out, data, _, document = finished
    predictor = load(out / document["weights"]["MockTNG"])
    with pytest.raises(UserError, match="trained or validated on 8 of the 10 simulations asked for"):
        predict_suite(predictor, data.of("MockSIMBA"), "all")
    assert predict_suite(predictor, data.opened["MockSIMBA", "LHtest"], "all").n_maps == 60


@pytest.mark.parametrize("name", ["MockTNG", "MockSIMBA", "Nbody_Mock"])
def test_the_test_simulations_of_all_suites_are_those_that_were_not_seen(finished, name):
    out, data, _, document = finished
    network = load(out / document["weights"]["MockTNG"])
    tested = set(predict_suite(network, data.of(name)).simulation)
    assert len(tested) == 2
    assert tested.isdisjoint(number for source in network.sources for number in source.numbers)


def test_suites_are_found_by_their_names(finished, tiny_letter, tmp_path):
    _, data, _, _ = finished
    assert letter.choose_suites(tiny_letter, data.directory) == ("MockTNG", "MockSIMBA")
    assert letter.choose_suites(replace(tiny_letter, suites=("B", "A")), data.directory) == ("B", "A")
    with pytest.raises(UserError, match="name two different suites"):
        letter.choose_suites(replace(tiny_letter, suites=("A", "A")), data.directory)
    with pytest.raises(DataError):
        letter.choose_suites(tiny_letter, tmp_path)


def test_mock_and_real_suites_are_never_paired_silently(finished, tiny_letter, tmp_path):
    _, data, _, _ = finished
    for path in data.directory.glob("*_MockTNG_*"):
        (tmp_path / path.name).symlink_to(path)
        (tmp_path / path.name.replace("MockTNG", "IllustrisTNG")).symlink_to(path)
    with pytest.raises(UserError, match="both mock or both not"):
        letter.choose_suites(tiny_letter, tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"suites": ("IllustrisTNG", "SIMBA")}, "without --data they are MockTNG, MockSIMBA, MockAstrid and MockEAGLE"),
        ({"train": TrainSpec(split=SplitSpec(train=0.99, validation=0.002))}, "each needs one at least"),
        ({"simulate": SimulateSpec(set_name="CV")}, "train: Mtot of set LH, but Mtot of set CV would be simulated"),
        (
            {"train": TrainSpec(field="Mgas", split=SplitSpec(train=0.6, validation=0.2))},
            "train: Mgas of set LH, but Mtot",
        ),
    ],
)
def test_what_would_fail_later_is_refused_before_simulating(tiny_letter, tmp_path, change, words):
    with pytest.raises(UserError, match=words):
        prepare_data(replace(tiny_letter, **change), None, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_maps_of_another_field_are_refused(finished):
    out, data, _, document = finished
    gas = replace(data.of("MockSIMBA"), field="Mgas")
    with pytest.raises(UserError, match="Mgas maps of 16 pixels a side, but the network was trained on Mtot"):
        predict_suite(load(out / document["weights"]["MockTNG"]), gas)


def test_an_unfinished_report_is_not_taken_for_a_finished_one(
    tiny_letter, finished, blank_figures, monkeypatch, tmp_path
):
    out, data = shutil.copytree(finished[0], tmp_path / "copy"), finished[1]
    run = run_letter(tiny_letter, data, out, device="cpu")
    monkeypatch.setattr(
        "fieldlevel.report.letter_files.write_report", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    monkeypatch.setattr("fieldlevel.report.letter_files.draw_letter", lambda *_: {})
    with pytest.raises(KeyboardInterrupt):
        write_letter(out, run)
    assert read_finished(out, data.key) is None
    monkeypatch.undo()
    with blank_figures():
        document = write_letter(out, run)
    assert read_finished(out, data.key) == document


def test_a_folder_with_one_suite_is_refused(finished, tiny_letter, tmp_path):
    _, data, _, _ = finished
    for path in data.directory.glob("*_MockTNG_*"):
        (tmp_path / path.name).symlink_to(path)
    with pytest.raises(UserError, match="holds MockTNG in Mtot LH; two are needed"):
        letter.choose_suites(tiny_letter, tmp_path)


def test_store_keeps_complete_runs_and_continues_others(tmp_path):
    store, calls = Store(tmp_path), []

    def work(folder):
        calls.append(sorted(path.name for path in folder.iterdir()))
        (folder / "first").touch()
        if len(calls) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.ensure("run", "0123", work)
    assert not store.folder("run", "0123").exists()
    for _ in range(2):
        assert store.ensure("run", "0123", work) == tmp_path / "run-0123"
    assert calls == [[], ["first"]]


def test_suites_are_opened_in_one_order(finished):
    """The key of a letter is made from them, and must be the same in every process."""
    data = finished[1]
    own = [(name, "LH") for name in ("MockSIMBA", "MockTNG", "Nbody_Mock")]
    assert list(data.opened)[:3] == own
    others = list(data.opened)[3:]
    assert others == sorted(others, key=lambda key: (key[1], key[0]))
    assert {name for name, _ in others} == {"MockSIMBA", "MockTNG"}


def test_the_twin_has_no_maps_that_nobody_is_trained_on(finished):
    _, data, _, _ = finished
    names = {path.name for path in data.directory.glob("Maps_*")}
    assert {"Maps_Mtot_Nbody_Mock_LH_z=0.00.npy", "Maps_Mtot_MockTNG_LHthinned_z=0.00.npy"} < names
    assert "Maps_Mtot_Nbody_Mock_LHthinned_z=0.00.npy" not in names


def test_only_what_is_wanted_is_checked(finished, tiny_letter, tmp_path):
    _, data, _, _ = finished
    fine = replace(tiny_letter, k_max=(5.0, 40.0), only=("smoothing",))
    assert prepare_data(fine, data.directory, tmp_path / "out").suites == data.suites
    with pytest.raises(UserError, match="k_max: 5 h/Mpc, but maps of 16 x 16 pixels end"):
        prepare_data(replace(fine, only=("smoothing", "k_max")), data.directory, tmp_path / "out")


def test_a_suite_that_cannot_be_simulated_is_refused_before_any_is(tiny_letter, tmp_path, monkeypatch):
    monkeypatch.setattr("fieldlevel.study.letter_data.simulate_suite", lambda *_: pytest.fail("simulated"))
    spec = replace(tiny_letter, suites=("MockTNG", "MockSIMBA", "Third"))
    with pytest.raises(UserError, match="suites: MockTNG MockSIMBA Third: without --data they are MockTNG, "):
        prepare_data(spec, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_more_mock_suites_leave_the_usual_two(monkeypatch, tiny_letter):
    monkeypatch.setattr(letter, "mock_suites", lambda: ("MockTNG", "MockSIMBA", "MockThird"))
    assert letter.simulations(tiny_letter).suites == ("MockTNG", "MockSIMBA")
    three = replace(tiny_letter, suites=letter.mock_suites())
    assert letter.simulations(three).suites == three.suites


def test_all_suites_are_simulated_at_once_in_a_folder_to_which_more_can_be_added(monkeypatch, tiny_letter, tmp_path):
    simulated = []

    def simulate(spec, directory, *_):
        simulated.append((spec.suites, directory))
        raise KeyboardInterrupt

    def folder(**changes):
        suites = changes.pop("suites", ())
        spec = replace(tiny_letter, suites=suites, simulate=replace(tiny_letter.simulate, **changes))
        with pytest.raises(KeyboardInterrupt):
            prepare_data(spec, None, tmp_path)
        return simulated[-1][1]

    monkeypatch.setattr("fieldlevel.study.letter_data.simulate_suite", simulate)
    monkeypatch.setattr("fieldlevel.study.letter_data.mock_suites", lambda: ("MockTNG", "MockSIMBA", "MockThird"))
    first = folder()
    assert simulated == [(("MockTNG", "MockSIMBA"), first)]
    assert folder(suites=("MockTNG", "MockSIMBA", "MockThird")) == first
    assert simulated[-1][0] == ("MockTNG", "MockSIMBA", "MockThird")
    assert folder(twin=False) == folder(thin=(0.5,)) == folder(thin_training=(0.05, 1.0)) == first
    assert folder(n_particles=14) != first != folder(fields=("Mtot", "Mgas"))


DEEP = '{"a":' * 100_000
DAMAGES = {
    "test-*/checksum.json": ["", "3", "{}", DEEP, "\xff\0"],
    "test-*/predictions.csv": ["", "\xff\0\n", None],
    "train-*/provenance.json": ["", "[]", '{"date": 3}', DEEP, "\xff", None],
    "train-*/history.csv": [
        "",
        "step\0,a\n1,2\n",
        "a,b\n1,2\n",
        "step," + "a" * 200_000 + "\n1,2\n",
        "step\n6\n",
        None,
    ],
    "train-*/weights.safetensors": ["", "x" * 1000],
    "train-*/network.json": ["", "{}", "[1]", DEEP, '{"n_parameters": 3.5, "validation_loss": 1.0}'],
    "search-*/trials.csv": ["", "number,state\n0,complete\n", "number,state\n0,complete,1\n", "\xff", None],
    "search-*/spec.json": ["", "{}", "3", DEEP, None],
    "search-*/importance.json": ["", "{}", '{"importance": {"a": "x"}}', '{"importance": {"a": 1e999}}', DEEP],
}


@pytest.mark.parametrize("pattern", DAMAGES)
def test_damaged_folders_of_runs_name_the_way_out(finished, tiny_letter, tmp_path, pattern):
    out, data, _, _ = finished
    shutil.copytree(out, tmp_path / "copy")
    folder, name = pattern.split("/")
    path = sorted((tmp_path / "copy" / "runs").glob(folder))[0] / name
    for content in DAMAGES[pattern]:
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content, encoding="latin-1")
        with pytest.raises(UserError, match=rf"{path.parent.name}.*delete ") as error:
            run_letter(tiny_letter, data, tmp_path / "copy", device="cpu")
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 1200


CHANGES = [
    lambda document: document.pop("data_mark"),
    lambda document: document.update(pairs="x"),
    lambda document: document.update(verdicts=[1]),
    lambda document: document.update(figures=[3]),
    lambda document: document.update(figures=["../victim.txt"]),
    lambda document: document["pairs"][0]["scores"].clear(),
    lambda document: document["pairs"][0]["scores"]["Omega_m"]["r2"].update(value="x"),
    lambda document: document["pairs"][0]["scores"]["Omega_m"]["r2"].update(value=10**400),
]


def test_a_changed_document_is_no_finished_letter(finished, tmp_path):
    out, data, _, document = finished
    for change in CHANGES:
        changed = json.loads(json.dumps(document))
        change(changed)
        shutil.copytree(out, tmp_path / "copy", dirs_exist_ok=True)
        (tmp_path / "copy" / "metrics.json").write_text(json.dumps(changed))
        assert read_finished(tmp_path / "copy", data.key) is None


def test_nothing_beside_the_figures_of_a_letter_is_taken_away(finished, tmp_path):
    out, *_, document = finished
    shutil.copytree(out, tmp_path / "copy")
    (tmp_path / "victim.txt").touch()
    (tmp_path / "copy" / "notes.png").touch()
    strange = {**document, "figures": ["../victim.txt", str(tmp_path / "victim.txt"), "notes.png"]}
    (tmp_path / "copy" / "metrics.json").write_text(json.dumps(strange))
    forget_letter(tmp_path / "copy")
    assert not (tmp_path / "copy" / "metrics.json").exists()
    assert (tmp_path / "victim.txt").exists()
    assert (tmp_path / "copy" / "notes.png").exists()


@pytest.mark.parametrize("name", ["metrics.json", "report.html", "report.md", "predictions.csv"])
def test_foreign_files_are_left_alone(finished, tmp_path, name):
    _, _, run, _ = finished
    for text in ('{"scores": {}}', "<html>mine</html>", "a,b\n1,2\n", ""):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=rf"{name}: is there already and was not written by this command"):
            write_letter(tmp_path, run)
        assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, text)]


def test_a_link_or_a_file_is_no_folder_of_a_run(tmp_path):
    store, elsewhere = Store(tmp_path / "runs"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    store.root.mkdir()
    for name in ("run-0123", ".run-0123.partial"):
        path = store.root / name
        for make in (lambda path=path: path.symlink_to(elsewhere), path.touch, lambda path=path: path.symlink_to("no")):
            make()
            with pytest.raises(UserError, match=rf"{name}: is no folder of a run; take it away"):
                store.ensure("run", "0123", lambda folder: (folder / "written").touch())
            path.unlink()
    assert list(elsewhere.iterdir()) == []
