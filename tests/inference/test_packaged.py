from pathlib import Path

import numpy as np
import pytest
import torch

import fieldlevel
from fieldlevel.data.normalise import Normaliser
from fieldlevel.errors import UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.inference import packaged as trained
from fieldlevel.inference.packaged import find_weights, trained_names
from fieldlevel.inference.predictor import load
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
    assert trained_names() == ["MockSIMBA", "MockTNG"]
    assert all((trained.FOLDER / f"{name}.safetensors").stat().st_size < 16e6 for name in trained_names())


@pytest.mark.parametrize("name", ["MockSIMBA", "MockTNG"])
def test_a_network_that_comes_with_the_package_finds_the_fiducial_point_in_the_example_maps(name):
    mean, std = load(name, "cpu").predict(np.load(EXAMPLES / f"{name}.npy", allow_pickle=False))
    truth, known_to = np.array([0.3, 0.8]), np.array([0.01, 0.03])
    assert (abs(mean[:, :2] - truth) < 3 * std[:, :2]).all()
    assert (std[:, :2] < known_to).all()


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
