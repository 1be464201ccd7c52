from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import fieldlevel
from fieldlevel.data.normalise import Normaliser
from fieldlevel.data.seen import seen_digests
from fieldlevel.errors import UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.inference import packaged as trained
from fieldlevel.inference.packaged import find_weights, trained_names
from fieldlevel.inference.predictor import Predictor, load
from fieldlevel.inference.reference_making import kept_reference
from fieldlevel.inference.trust.judging import LEVEL
from fieldlevel.inference.trust.reference_file import read_reference_file, reference_path, weights_checksum
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.weights_file import save_network

EXAMPLES = Path(__file__).parents[2] / "examples"


def save(path: Path, mean: float) -> Path:
    """A network that says where it comes from by the mean of its normaliser."""
    torch.manual_seed(0)
    network, normaliser = MomentNetwork(16, 1, dropout=0.0), Normaliser(mean, 1.0)
    none = np.array([], dtype=np.int64)
    save_network(
        path, network, TrainSpec(), normaliser, training_simulations=none, validation_simulations=none, provenance={}
    )
    return path


@pytest.fixture(autouse=True)
def empty_place(tmp_path, monkeypatch):
    """Tests work in a folder of their own, where no file has the name of a network."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """Folder of the networks that come with the package: two of them."""
    folder = tmp_path / "package"
    folder.mkdir()
    monkeypatch.setattr(trained, "FOLDER", folder)
    save(folder / "MockTNG.safetensors", mean=1.0)
    save(folder / "MockSIMBA.safetensors", mean=2.0)
    (folder / "notes.txt").write_text("no network")
    return folder


def test_the_folder_is_that_of_the_package():
    assert Path(fieldlevel.__file__).parent / "trained" == trained.FOLDER


@pytest.mark.parametrize("name", ["MockSIMBA", "MockTNG"])
def test_a_network_that_comes_with_the_package_is_of_the_suite_that_it_is_named_after(name):
    predictor = load(name, "cpu")
    assert predictor.spec.suite == name
    assert predictor.is_mock
    assert predictor.n_pixels == 256


def test_every_network_that_comes_with_the_package_is_small_enough_for_a_repository():
    assert trained_names() == ["MockSIMBA", "MockTNG", "robust"]
    sizes = {path.name: path.stat().st_size for path in trained.FOLDER.iterdir() if path.is_file()}
    assert len(sizes) == 3 * len(trained_names())  # a calibration and a reference beside each
    assert {name for name, size in sizes.items() if size > 8_000_000} == set()


@pytest.mark.parametrize(("least", "most"), [(0.0, 0.1), (0.8, 0.9), (1.5, 2.0)])
def test_held_out_maps_of_every_width_are_flagged_at_the_stated_rate(least, most):
    weights = find_weights("robust")
    reference = read_reference_file(reference_path(weights), weights_checksum(weights))
    held_out, found = reference.held_out, []
    for number in np.unique(held_out.simulation[(least <= held_out.width) & (held_out.width < most)]):
        own = held_out.simulation == number
        others = replace(reference, held_out=held_out.chosen(~own))
        found.append(others.p_values(held_out.chosen(own & (least <= held_out.width) & (held_out.width < most))))
    shares = np.array([np.mean(p < LEVEL) for p in found])
    assert len(shares) > 70
    assert LEVEL - 0.04 < shares.mean() < LEVEL + 0.03  # two errors of some hundred simulations


@pytest.mark.parametrize("name", ["MockSIMBA", "MockTNG"])
def test_a_network_that_comes_with_the_package_finds_the_fiducial_point_in_the_example_maps(name):
    mean, std = load(name, "cpu").predict(np.load(EXAMPLES / f"{name}.npy", allow_pickle=False))
    truth, known_to = np.array([0.3, 0.8]), np.array([0.01, 0.03])
    assert (abs(mean[:, :2] - truth) < 3 * std[:, :2]).all()
    assert (std[:, :2] < known_to).all()


@pytest.fixture(scope="module")
def robust() -> Predictor:
    return load("robust", "cpu")


def test_the_robust_network_has_seen_all_mock_suites_and_says_that_it_has_seen_no_real_simulation(robust):
    four = ["MockTNG", "MockSIMBA", "MockAstrid", "MockEAGLE"]
    assert [source.suite for source in robust.sources] == four
    assert robust.layout.names == ("Omega_m", "sigma_8")
    assert robust.is_mock
    told = "trained on MockTNG, MockSIMBA, MockAstrid and MockEAGLE, mock suites alone: it has seen no real simulation"
    assert told in robust.remarks
    assert "leave-one-out among 4 suites" in robust.transfer_guarantee
    assert len(seen_digests(robust.sources)) == 4 * 475 * 15


@pytest.mark.parametrize("name", ["MockSIMBA", "MockTNG"])
def test_the_robust_network_finds_the_fiducial_point_whatever_the_resolution(robust, name):
    """Means of three maps within two of their standard deviations, also once a Gaussian of a pixel smooths the maps."""
    maps = np.load(EXAMPLES / f"{name}.npy", allow_pickle=False)
    for given in (maps, gaussian_filter(maps, 1.0, mode="wrap", axes=(1, 2))):
        mean, std = robust.predict(given)
        assert (abs(mean - [0.3, 0.8]) < 2 * std).all()
        assert (std < [0.04, 0.04]).all()
        wider = robust.transfer_std(mean, std)
        assert (wider > std).all() and (wider < [0.05, 0.05]).all()


@pytest.mark.parametrize("name", ["MockSIMBA", "MockTNG"])
def test_what_tells_the_robust_network_of_its_own_maps_comes_with_it(robust, name):
    assert (robust.posterior(np.load(EXAMPLES / f"{name}.npy", allow_pickle=False)).trust.p_value > 0.05).all()


@pytest.mark.parametrize("name", ["MockSIMBA", "MockTNG", "robust"])
def test_the_references_of_the_package_know_the_suites_and_widths_of_the_training(name):
    assert kept_reference(name) is not None


def test_names_are_those_of_the_weights_files(package):
    assert trained_names() == ["MockSIMBA", "MockTNG"]


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize(("name", "mean"), [("MockTNG", 1.0), ("MockSIMBA", 2.0)])
def test_a_bare_name_is_looked_up(package, kind, name, mean):
    predictor = load(kind(name))
    assert predictor.normaliser.mean == mean
    assert predictor.is_mock


def test_a_file_of_that_name_wins(package):
    save(Path("MockTNG"), mean=3.0)
    assert load("MockTNG").normaliser.mean == 3.0
    assert load("MockSIMBA").normaliser.mean == 2.0


def test_a_folder_of_that_name_is_not_mistaken_for_the_network(package):
    Path("MockTNG").mkdir()
    with pytest.raises(UserError, match="MockTNG: not a weights file"):
        load("MockTNG")


@pytest.mark.parametrize("path", ["./MockTNG", "runs/MockTNG", "MockTNG.safetensors", "MockTNG.pt", "MockTNG/"])
def test_a_path_is_never_looked_up(package, path):
    assert find_weights(path) == Path(path)
    with pytest.raises(UserError, match="not a weights file"):
        load(path)


def test_the_folder_of_a_run_stands_for_its_weights(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    assert find_weights(run) == run
    (run / "weights.safetensors").touch()
    assert find_weights(run) == find_weights(str(run)) == run / "weights.safetensors"


def test_a_misspelt_name_is_refused_with_those_that_there_are(package):
    with pytest.raises(UserError) as refusal:
        load("MockTGN")
    expected = "MockTGN: no such file, and no network of that name comes with fieldlevel (MockSIMBA, MockTNG)"
    assert str(refusal.value) == expected


def test_without_any_network_the_refusal_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "FOLDER", tmp_path / "no-folder")
    with pytest.raises(UserError, match=r"comes with fieldlevel \(none does\)"):
        load("MockTNG")
