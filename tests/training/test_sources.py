"""Several sources in one training: their shares of a batch, their targets, and what the file keeps of each."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors import safe_open

from fieldlevel.data.batches import BatchSampler, MapSet
from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.data.layout_files import write_layout
from fieldlevel.data.suite import open_suite
from fieldlevel.errors import DataError, UserError
from fieldlevel.inference.evaluation import predict_suite
from fieldlevel.inference.predictor import load
from fieldlevel.layout import CAMELS_PARAMETERS, Layout
from fieldlevel.spec_io import from_json, overlay_file, to_json
from fieldlevel.suites import layout_of
from fieldlevel.training import distributed as parallel
from fieldlevel.training.settings import check_train_spec
from fieldlevel.training.source_rules import maps_of_sources, settle_sources, shares_of
from fieldlevel.training.source_spec import SourceSpec
from fieldlevel.training.sources import fingerprint_of, load_sets, open_data, outputs_of
from fieldlevel.training.state import TrainingState, check_state
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.trainer import train

TNG, SIMBA = SourceSpec("MockTNG"), SourceSpec("MockSIMBA")
TARGET = SourceSpec("MockSIMBA", labelled=False)
COSMOLOGY = ("Omega_m", "sigma_8")
FEEDBACK = CAMELS_PARAMETERS[2:]
N_SIMULATIONS = 8


def write(folder, suite, seed, layout=None, n_simulations=N_SIMULATIONS, n_pixels=16, set_name="LH"):
    """A sound suite; Omega_m is in the mean of its maps. Simulations of one number have one cosmology in all suites."""
    layout, files = layout or Layout(), SuiteFiles(folder, suite, set_name=set_name)
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    shared = np.random.default_rng(0)
    generators = [shared if parameter.cosmological else rng for parameter in layout.parameters]
    strata = np.array([each.permutation(n_simulations) for each in generators]).T
    theta = layout.lows + (strata + 0.5) / n_simulations * (layout.highs - layout.lows)
    maps = rng.lognormal(0.0, 1.0, (n_simulations, layout.n_maps, n_pixels, n_pixels))
    mean = np.array([layout.mean_density(Omega_m) for Omega_m in theta[:, 0]])
    maps *= mean[:, None, None, None] / maps.mean((2, 3), keepdims=True)
    np.save(files.maps_path, maps.reshape(-1, n_pixels, n_pixels).astype("<f4"))
    np.savetxt(files.own_parameters_path, theta, fmt="%.6f")
    if layout != Layout():
        write_layout(files, layout)
    return theta


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "data", "MockTNG", 0)
    write(tmp_path / "data", "MockSIMBA", 1)
    return tmp_path / "data"


@pytest.fixture
def pooled(spec):
    return check_train_spec(replace(spec, sources=(TNG, SIMBA)))


@pytest.fixture
def adapted(spec):
    return check_train_spec(replace(spec, sources=(TNG, TARGET)))


def loaded(spec, folder):
    sources = open_data(spec, folder, check=False)
    return sources, *load_sets(spec, sources, torch.device("cpu"))


def refusal(spec, folder=None):
    with pytest.raises(UserError) as refused:
        spec = check_train_spec(spec)
        open_data(spec, folder, check=False)
    assert "\n" not in str(refused.value)
    return str(refused.value)


REFUSED = {
    "another suite": ({"suite": "SIMBA", "sources": (TNG, SIMBA)}, "suite = SIMBA: beside sources"),
    "another set": ({"set_name": "CV", "sources": (TNG, SIMBA)}, "set_name = CV: beside sources"),
    "twice": ({"sources": (TNG, SIMBA, TARGET)}, "MockSIMBA LH twice"),
    "no labels": ({"sources": (TARGET,)}, "none has labels"),
    "share of nothing": ({"sources": (TNG, replace(SIMBA, share=0.0))}, "share = 0.0: must be above 0"),
    "share below nothing": ({"sources": (TNG, replace(SIMBA, share=-0.5))}, "share = -0.5"),
    "share of no number": ({"sources": (TNG, replace(SIMBA, share=float("nan")))}, "share = nan"),
    "nothing left": ({"sources": (TNG, replace(SIMBA, share=1.0))}, "leave nothing to 1 others"),
    "too little": ({"sources": (replace(TNG, share=0.5), replace(SIMBA, share=0.4))}, "add up to 0.9, not 1"),
    "too much": ({"sources": (replace(TNG, share=0.8), replace(SIMBA, share=0.4))}, "add up to 1.2, not 1"),
    "no map": (
        {"sources": (TNG, replace(SIMBA, share=0.01)), "batch_size": 16},
        "0 maps of MockSIMBA in a batch of 16",
    ),
    "a name": ({"sources": (TNG, SourceSpec("../x"))}, "sources.1.suite = ../x: must be letters and digits"),
    "a set": ({"sources": (TNG, SourceSpec("SIMBA", "L_H"))}, "sources.1.set_name = L_H: must be letters"),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_sources_that_cannot_be_are_refused_in_one_line(change, words):
    assert words in refusal(TrainSpec(**change))


def test_every_process_takes_as_many_maps_of_a_source(monkeypatch):
    spec = TrainSpec(sources=(replace(TNG, share=0.75), SIMBA), batch_size=20)
    assert maps_of_sources(settle_sources(spec, n_ranks=5)) == (15, 5)
    monkeypatch.setattr(parallel, "n_ranks", lambda: 2)
    assert "15 maps of MockTNG in a batch of 20, must be a multiple of the 2 processes" in refusal(spec)


@pytest.mark.parametrize("batch_size", [3, 16, 100, 128, 1000])
def test_numbers_of_maps_add_up_and_miss_their_shares_by_less_than_one(batch_size):
    rng = np.random.default_rng(batch_size)
    for n in (2, 3):
        parts = rng.dirichlet(np.ones(n))
        sources = tuple(SourceSpec(f"A{i}", share=float(part)) for i, part in enumerate(parts))
        counts = maps_of_sources(TrainSpec(sources=sources, batch_size=batch_size))
        assert sum(counts) == batch_size
        assert all(abs(count - part * batch_size) < 1 for count, part in zip(counts, shares_of(sources), strict=True))


def test_whole_numbers_of_maps_are_as_stated():
    sources = tuple(SourceSpec(f"A{i}", share=share) for i, share in enumerate((0.1, 0.2, 0.7)))
    assert maps_of_sources(TrainSpec(sources=sources, batch_size=10)) == (1, 2, 7)
    assert maps_of_sources(TrainSpec(batch_size=10)) == (10,)


def test_one_source_is_the_suite_and_specs_without_sources_read_as_ever():
    assert check_train_spec(TrainSpec(sources=(SourceSpec("SIMBA", "CV"),))) == TrainSpec(suite="SIMBA", set_name="CV")
    assert not {"sources", "outputs"} & json.loads(to_json(TrainSpec())).keys()


def test_specs_of_sources_are_written_and_read_strictly(tmp_path, pooled):
    assert from_json(TrainSpec, to_json(pooled)) == pooled
    assert json.loads(to_json(pooled))["suite"] == "MockTNG"
    given = tmp_path / "pooled.toml"
    given.write_text('[[sources]]\nsuite = "SIMBA"\nset = "CV"\n[[sources]]\nsuite = "Astrid"\nshare = 0.5\n')
    read = overlay_file(TrainSpec(), given)
    assert read.sources == (SourceSpec("SIMBA", "CV"), SourceSpec("Astrid", share=0.5))
    given.write_text('[[sources]]\nsuit = "SIMBA"\n')
    with pytest.raises(UserError, match=r"sources.0.suit: .* allowed: suite, set_name, labelled, share"):
        overlay_file(TrainSpec(), given)


@pytest.fixture
def numbered():
    """Maps of three sources whose target is the number of the map."""
    numbers, source = torch.arange(35), torch.tensor([0] * 20 + [1] * 10 + [2] * 5)
    maps = numbers[:, None, None] + torch.arange(256.0).reshape(16, 16) / 1000
    return MapSet(maps, numbers[:, None].repeat(1, 6).float(), numbers, source)


def test_every_batch_holds_the_maps_of_each_source_in_their_order(numbered):
    sampler = BatchSampler(numbered, 8, "symmetries+shifts", seed=0, of_sources=(4, 3, 1))
    drawn = [sampler.draw() for _ in range(20)]
    assert all(batch.source.tolist() == [0] * 4 + [1] * 3 + [2] for batch in drawn)
    numbers = torch.stack([batch.theta[:, 0].int() for batch in drawn])
    for columns, n_maps, first in ((slice(0, 4), 20, 0), (slice(4, 7), 10, 20), (slice(7, 8), 5, 30)):
        of_source = numbers[:, columns].flatten().tolist()
        ends = range(0, len(of_source) + 1, n_maps)
        epochs = [of_source[start:stop] for start, stop in pairwise(ends)]
        assert all(sorted(epoch) == list(range(first, first + n_maps)) for epoch in epochs)


def test_one_source_has_the_batches_that_it_always_had(numbered):
    """The same random numbers in the same order: results of earlier versions stay to the bit."""
    sampler = BatchSampler(numbered, 8, "symmetries+shifts", seed=3)
    generator, queue = torch.Generator().manual_seed(3), torch.empty(0, dtype=torch.int64)
    for _ in range(10):
        while len(queue) < 8:
            queue = torch.cat([queue, torch.randperm(35, generator=generator)])
        numbers, queue = queue[:8], queue[8:]
        symmetry = torch.randint(8, (8,), generator=generator)
        shift = torch.randint(16, (8, 2), generator=generator)
        assert torch.equal(sampler.choose(), torch.cat([numbers[:, None], symmetry[:, None], shift], dim=1))
    assert sampler.state_dict().keys() == {"queue", "generator"}
    assert torch.equal(sampler.state_dict()["queue"], queue)


def test_a_resumed_sampler_of_several_sources_draws_the_same_batches(numbered, tmp_path):
    sampler = BatchSampler(numbered, 8, "symmetries+shifts", seed=5, of_sources=(4, 3, 1))
    for _ in range(3):
        sampler.draw()
    assert sampler.state_dict().keys() == {"queue", "queue.1", "queue.2", "generator"}
    torch.save(sampler.state_dict(), tmp_path / "state.pt")
    expected = [sampler.draw() for _ in range(7)]
    resumed = BatchSampler(numbered, 8, "symmetries+shifts", seed=99, of_sources=(4, 3, 1))
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for batch in expected:
        assert all(map(torch.equal, batch, resumed.draw()))


def test_processes_share_every_source_of_a_batch(numbered):
    def sampler(part):
        return BatchSampler(numbered, 12, "symmetries+shifts", seed=1, share=part, of_sources=(6, 4, 2))

    whole, halves = sampler(slice(None)).choose(), [sampler(part).choose() for part in (slice(0, 6), slice(6, 12))]
    assert [numbered.source[half[:, 0]].tolist() for half in halves] == 2 * [[0] * 3 + [1] * 2 + [2]]
    assert sorted(torch.cat(halves).tolist()) == sorted(whole.tolist())


def test_a_source_without_maps_is_refused(numbered):
    with pytest.raises(UserError, match="maps of 3 sources, not of 4"):
        BatchSampler(numbered, 8, "none", seed=0, of_sources=(2, 2, 2, 2))


def test_a_damaged_queue_of_a_later_source_is_noticed(pooled, folder):
    _, _, training, validation = loaded(pooled, folder)
    state = TrainingState(pooled, training, validation)
    state.advance(lambda event: None)
    own, whole = {name: state.state_dict()[name] for name in ("network", "optimisers", "sampler")}, state.state_dict()
    check_state(whole, own, pooled.n_steps, training.n_maps)
    whole["sampler"]["queue.1"] = torch.tensor([training.n_maps])
    with pytest.raises(ValueError, match="draws maps that are not there"):
        check_state(whole, own, pooled.n_steps, training.n_maps)


def test_outputs_of_several_suites_are_the_cosmology_and_the_feedback_of_each(pooled, folder):
    sources, _, training, validation = loaded(pooled, folder)
    outputs = outputs_of(pooled, sources)
    own = [f"{each.name}[{suite}]" for suite in ("MockTNG", "MockSIMBA") for each in FEEDBACK]
    assert outputs.names == (*COSMOLOGY, *own)
    for maps in (training, validation):
        assert torch.isnan(maps.theta[maps.source == 0][:, 6:]).all()
        assert torch.isnan(maps.theta[maps.source == 1][:, 2:6]).all()
        assert (torch.isnan(maps.theta).sum(1) == 4).all()
    for number, columns in ((0, [0, 1, 2, 3, 4, 5]), (1, [0, 1, 6, 7, 8, 9])):
        suite, rows = sources[number].suite, training.source == number
        low, high = outputs.lows[columns], outputs.highs[columns]
        theta = training.theta[rows][:, columns].numpy() * (high - low) + low
        np.testing.assert_allclose(theta, suite.parameters[training.simulation[rows]], rtol=1e-5)


def test_an_unlabelled_source_has_no_target_and_chooses_nothing(adapted, folder):
    sources, _, training, validation = loaded(adapted, folder)
    assert outputs_of(adapted, sources).names == Layout().names
    assert torch.isnan(training.theta[training.source == 1]).all()
    assert not torch.isnan(training.theta[training.source == 0]).any()
    assert training.n_maps == 2 * 15 * 6
    assert validation.n_maps == 15
    assert (validation.source == 0).all()


def test_sources_keep_their_numbers_where_an_unlabelled_one_is_the_first(spec, folder):
    spec = check_train_spec(replace(spec, sources=(TARGET, TNG)))
    _, _, training, validation = loaded(spec, folder)
    assert (validation.source == 1).all()
    assert torch.isnan(training.theta[training.source == 0]).all()
    assert spec.suite == "MockSIMBA"


def test_the_split_is_that_of_each_source(pooled, folder):
    one, other = open_data(pooled, folder, check=False)
    assert one.split.train.tolist() == other.split.train.tolist()
    assert one.split.test.tolist() == other.split.test.tolist()


def test_maps_are_normalised_over_the_training_maps_of_all_sources(pooled, folder):
    sources, normaliser, training, _ = loaded(pooled, folder)
    logs = [np.log10(each.suite.maps[each.suite.maps_of(each.split.train)].astype(float)) for each in sources]
    assert normaliser.mean == pytest.approx(np.concatenate(logs).mean(), rel=1e-12)
    assert normaliser.std == pytest.approx(np.concatenate(logs).std(), rel=1e-12)
    assert abs(training.maps.mean().item()) < 1e-5


def test_the_numbers_of_a_summary_are_normalised_over_all_sources(spec, folder):
    spec = check_train_spec(replace(spec, sources=(TNG, TARGET), inputs="power spectrum"))
    _, _, training, _ = loaded(spec, folder)
    torch.testing.assert_close(training.maps.mean(0), torch.zeros(training.maps.shape[1]), rtol=0, atol=1e-4)


def test_labels_are_permuted_within_each_source(pooled, folder):
    _, _, training, validation = loaded(pooled, folder)
    _, _, permuted, for_choice = loaded(replace(pooled, labels="permuted"), folder)
    for number in (0, 1):
        true, given = (
            torch.cat([one.theta[one.source == number], other.theta[other.source == number]]).nan_to_num()
            for one, other in ((training, validation), (permuted, for_choice))
        )
        assert not torch.equal(true, given)
        assert sorted(map(tuple, true.tolist())) == sorted(map(tuple, given.tolist()))


def test_gravity_alone_teaches_cosmology_alone(spec, tmp_path):
    write(tmp_path / "data", "MockTNG", 0)
    write(tmp_path / "data", "Nbody_MockSIMBA", 1)
    spec = check_train_spec(replace(spec, sources=(TNG, SourceSpec("Nbody_MockSIMBA"))))
    sources, _, training, _ = loaded(spec, tmp_path / "data")
    assert outputs_of(spec, sources).names == (*COSMOLOGY, *(f"{each.name}[MockTNG]" for each in FEEDBACK))
    shared = replace(spec, outputs=("Omega_m", "A_SN1"))
    training = loaded(shared, tmp_path / "data")[2]
    assert torch.isnan(training.theta[training.source == 1]).float().mean(0).tolist() == [0.0, 1.0]


def test_a_shared_output_has_the_range_of_all_priors(spec, tmp_path):
    for number, suite in enumerate(("SIMBA", "Astrid")):
        write(tmp_path / "data", suite, number)
    spec = check_train_spec(replace(spec, sources=(SourceSpec("SIMBA"), SourceSpec("Astrid"))))
    outputs = outputs_of(spec, open_data(spec, tmp_path / "data", check=False))
    ranges = {each.name: (each.low, each.high) for each in outputs.parameters}
    assert ranges["A_AGN2[SIMBA]"] == (0.5, 2.0)
    assert ranges["A_AGN2[Astrid]"] == (0.25, 4.0)
    shared = replace(spec, outputs=("A_AGN2",))
    (output,) = outputs_of(shared, open_data(shared, tmp_path / "data", check=False)).parameters
    assert (output.low, output.high, output.name) == (0.25, 4.0, "A_AGN2")


def test_some_outputs_of_one_suite_are_trained_alone(spec, folder, tmp_path):
    spec = replace(spec, outputs=("sigma_8", "Omega_m"))
    _, _, training, _ = loaded(spec, folder)
    _, _, whole, _ = loaded(replace(spec, outputs=()), folder)
    assert torch.equal(training.theta, whole.theta[:, [1, 0]])
    predictor = load(train(spec, folder, tmp_path / "network", "cpu"), "cpu")
    assert predictor.layout.names == ("sigma_8", "Omega_m")
    mean, _ = predictor.predict(open_suite(folder, "MockTNG", check=False).maps[:2])
    assert mean.shape == (2, 2)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (("A_SN1[Astrid]",), "no labelled source has A_SN1[Astrid]; there are Omega_m, sigma_8, A_SN1[MockTNG]"),
        (("Omega_b",), "no labelled source has Omega_b"),
        (("Omega_m", "Omega_m"), "parameter Omega_m twice"),
        (("<b>",), "give letters, digits and single underscores"),
    ],
)
def test_outputs_that_nobody_teaches_are_refused(pooled, folder, outputs, words):
    assert words in refusal(replace(pooled, outputs=outputs), folder)


def test_an_unlabelled_source_teaches_nothing(adapted, folder):
    assert "no labelled source has A_SN1[MockSIMBA]" in refusal(replace(adapted, outputs=("A_SN1[MockSIMBA]",)), folder)


OTHER_MAPS = {
    "pixels": ({"n_pixels": 32}, "MockSIMBA has maps of 32 pixels a side"),
    "box": ({"layout": Layout(box_size_mpc_h=50.0)}, "slabs of 5 Mpc/h of a box of 50 Mpc/h"),
    "slab": ({"layout": Layout(slab_thickness_mpc_h=2.5)}, "slabs of 2.5 Mpc/h of a box of 25 Mpc/h"),
    "unit": ({"layout": Layout(units=(("Mtot", "g/cm^2"),))}, "in g/cm^2"),
}


@pytest.mark.parametrize(("change", "words"), OTHER_MAPS.values(), ids=OTHER_MAPS)
def test_sources_of_other_maps_are_refused_before_a_map_is_read(pooled, tmp_path, change, words, monkeypatch):
    write(tmp_path / "data", "MockTNG", 0)
    write(tmp_path / "data", "MockSIMBA", 1, **change)
    monkeypatch.setattr("fieldlevel.data.suite.Suite.load_simulation", None)
    told = refusal(pooled, tmp_path / "data")
    assert "sources: MockTNG has maps of 16 pixels a side, slabs of 5 Mpc/h of a box of 25 Mpc/h" in told
    assert words in told


def test_siblings_are_in_the_same_part_of_the_split_or_refused(pooled, tmp_path):
    shared = Layout(initial_conditions="mine")
    write(tmp_path / "data", "MockTNG", 0, shared)
    write(tmp_path / "data", "MockSIMBA", 1, shared, n_simulations=10)
    assert "MockTNG has 8 simulations, MockSIMBA 10 of the same initial conditions" in refusal(
        pooled, tmp_path / "data"
    )


def test_batches_larger_than_a_source_are_refused(pooled, folder):
    spec = replace(pooled, sources=(TNG, replace(SIMBA, share=0.9)), batch_size=110)
    assert "batch_size = 110: 99 maps of MockSIMBA, which has 90" in refusal(spec, folder)


def test_a_source_that_is_not_there_is_told(pooled, tmp_path):
    write(tmp_path / "data", "MockTNG", 0)
    with pytest.raises(DataError, match="MockSIMBA"):
        open_data(pooled, tmp_path / "data")


def test_what_a_folder_says_of_its_maps_is_a_part_of_the_data(spec, folder):
    (before,) = open_data(spec, folder, check=False)
    assert fingerprint_of([before.suite]) == before.suite.fingerprint
    wider = (replace(CAMELS_PARAMETERS[0], low=0.05), *CAMELS_PARAMETERS[1:])
    write_layout(before.suite.files, replace(layout_of("MockTNG"), parameters=wider))
    (after,) = open_data(spec, folder, check=False)
    assert fingerprint_of([after.suite]) != fingerprint_of([before.suite])


def metadata_of(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def test_the_file_of_one_suite_is_as_it_was(spec, folder, tmp_path):
    weights = train(spec, folder, tmp_path / "network", "cpu")
    assert metadata_of(weights).keys() == {
        *("format_version", "fieldlevel_version", "spec", "network", "normaliser", "labels", "seen", "checksum"),
        *("training_simulations", "validation_simulations", "suite", "mock", "provenance", "made_from"),
    }
    assert json.loads(metadata_of(weights)["seen"]).keys() == {"parameters", "maps"}
    (source,) = load(weights, "cpu").sources
    assert (source.suite, source.set_name, source.labelled) == ("MockTNG", "LH", True)
    assert source.initial_conditions == "mock LH"


def test_a_pooled_network_keeps_what_it_has_seen_of_each_source(pooled, folder, tmp_path):
    spec = replace(pooled, outputs=COSMOLOGY)
    weights = train(spec, folder, tmp_path / "network", "cpu")
    predictor = load(weights, "cpu")
    assert predictor.layout.names == COSMOLOGY
    assert predictor.is_mock
    assert predictor.remarks == ("trained on MockTNG and MockSIMBA, mock suites alone: it has seen no real simulation",)
    assert [source.suite for source in predictor.sources] == ["MockTNG", "MockSIMBA"]
    for source, of_data in zip(predictor.sources, open_data(spec, folder, check=False), strict=True):
        assert source.training == tuple(of_data.split.train)
        assert source.validation == tuple(of_data.split.validation)
        np.testing.assert_array_equal(source.seen.parameters, of_data.suite.parameters[of_data.seen])
        assert source.seen.has_maps(of_data.suite.read_simulation(int(of_data.seen[0]))).all()
    assert train(spec, folder, tmp_path / "network", "cpu") == weights


def test_an_adapted_network_says_which_source_had_no_labels(adapted, folder, tmp_path):
    predictor = load(train(adapted, folder, tmp_path / "network", "cpu"), "cpu")
    assert predictor.remarks == (
        "trained on MockTNG and MockSIMBA (unlabelled), mock suites alone: it has seen no real simulation",
    )
    assert predictor.layout.names == Layout().names
    labelled, unlabelled = predictor.sources
    assert (labelled.labelled, unlabelled.labelled) == (True, False)
    assert len(unlabelled.training) == 6
    assert unlabelled.validation == ()


def test_pooled_feedback_is_tested_on_its_own_suite_alone(pooled, folder, tmp_path):
    predictor = load(train(pooled, folder, tmp_path / "network", "cpu"), "cpu")
    assert predictor.layout.n_parameters == 10
    for suite, own, other in (("MockTNG", slice(2, 6), slice(6, 10)), ("MockSIMBA", slice(6, 10), slice(2, 6))):
        tested = open_suite(folder, suite, check=False)
        predictions = predict_suite(predictor, tested)
        assert predictions.layout.parameters == predictor.layout.parameters
        truth = tested.parameters[predictions.simulation]
        np.testing.assert_array_equal(predictions.theta[:, :2], truth[:, :2])
        np.testing.assert_array_equal(predictions.theta[:, own], truth[:, 2:])
        assert np.isnan(predictions.theta[:, other]).all()


@pytest.mark.parametrize("labelled", [True, False])
def test_an_interrupted_training_on_two_sources_ends_with_the_same_weights(spec, folder, tmp_path, labelled):
    spec = replace(spec, sources=(TNG, replace(SIMBA, labelled=labelled, share=0.25)), outputs=COSMOLOGY)

    def stop(event):
        if event.task == "train MockTNG" and event.done >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(spec, folder, tmp_path / "stopped", "cpu", stop)
    continued = load(train(spec, folder, tmp_path / "stopped", "cpu"), "cpu").network.state_dict()
    at_once = load(train(spec, folder, tmp_path / "whole", "cpu"), "cpu").network.state_dict()
    assert all(torch.equal(continued[name], at_once[name]) for name in at_once)


def test_maps_of_a_layout_of_their_own_are_trained_on_and_known_again(spec, tmp_path):
    feedback = tuple(replace(each, name=f"B_{number}") for number, each in enumerate(FEEDBACK))
    own = Layout((*CAMELS_PARAMETERS[:2], *feedback), 50.0, 10.0, initial_conditions="mine")
    write(tmp_path / "data", "Mine", 0, own)
    spec = replace(spec, suite="Mine")
    predictor = load(train(spec, tmp_path / "data", tmp_path / "network", "cpu", check=False), "cpu")
    assert replace(predictor.layout, n_pixels=0) == own
    assert predictor.layout.n_pixels == 16
    assert predictor.sources[0].seen.names == ("Omega_m", "sigma_8", "B_0", "B_1", "B_2", "B_3")
    tested = open_suite(tmp_path / "data", "Mine", check=False)
    with pytest.raises(UserError, match="7 of the 8 simulations"):
        predict_suite(predictor, tested, "all")
    assert predict_suite(predictor, tested).layout == tested.layout
