import csv
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stopping import InterruptionError, interrupt_at

from fieldlevel.cli import main
from fieldlevel.data.batches import BatchSampler, MapSet
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import open_suite, split_simulations
from fieldlevel.errors import DataError, TrainingError, UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.estimators.moments import moment_loss
from fieldlevel.inference.predictor import load
from fieldlevel.layout import Layout
from fieldlevel.numerics.transforms import all_symmetries, apply_symmetry
from fieldlevel.progress import ignore
from fieldlevel.spec_io import from_json, to_json
from fieldlevel.training import resume
from fieldlevel.training.precision import seeded
from fieldlevel.training.presets import TRAIN_PRESETS
from fieldlevel.training.state import TrainingState, validation_loss
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec
from fieldlevel.training.trainer import train, train_network

CMD = Layout()

# Sums of a few hundred float32 numbers in another order.
SINGLE = 1e-5


def map_set(n_maps: int, seed: int) -> MapSet:
    generator = torch.Generator().manual_seed(seed)
    theta = torch.rand(n_maps, 6, generator=generator)
    maps = torch.randn(n_maps, 16, 16, generator=generator) + theta[:, :1, None]
    return MapSet(maps, theta, torch.arange(n_maps))


@pytest.fixture
def training() -> MapSet:
    return map_set(60, seed=1)


@pytest.fixture
def validation() -> MapSet:
    return map_set(20, seed=2)


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load(path, "cpu").network.state_dict()


def assert_same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def read_history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_run_folder_holds_weights_history_and_spec(spec, directory, tmp_path):
    path = train(spec, directory, tmp_path / "run", "cpu")
    assert path == tmp_path / "run" / "weights.safetensors"
    assert {file.name for file in path.parent.iterdir()} == {"weights.safetensors", "history.csv", "spec.json"}
    assert from_json(TrainSpec, (path.parent / "spec.json").read_text()) == spec
    rows = read_history(path.parent)
    assert list(rows[0]) == ["step", "learning_rate", "training_loss", "validation_loss", "seconds"]
    assert [int(row["step"]) for row in rows] == [8, 16, 24, 30]
    assert float(rows[-1]["learning_rate"]) == pytest.approx(0.0, abs=1e-12)


def test_weights_know_their_simulations_and_predict_on_raw_maps(spec, directory, tmp_path):
    predictor = load(train(spec, directory, tmp_path / "run", "cpu"))
    split = split_simulations(8, train=0.75, validation=0.125)
    suite = open_suite(directory, "MockTNG")
    assert predictor.spec == spec
    assert predictor.training_simulations.tolist() == split.train.tolist()
    assert predictor.validation_simulations.tolist() == split.validation.tolist()
    assert predictor.provenance["data_fingerprint"] == suite.fingerprint
    assert np.isfinite(predictor.predict(suite.maps)).all()


def test_finished_run_is_not_done_again(spec, directory, tmp_path):
    path = train(spec, directory, tmp_path / "run", "cpu")
    before = path.stat().st_mtime_ns
    (path.parent / "resume.pt").touch()
    assert train(spec, directory, tmp_path / "run", "cpu") == path
    assert path.stat().st_mtime_ns == before
    assert not (path.parent / "resume.pt").exists()


def test_weights_of_another_spec_are_not_passed_off_as_those_asked_for(spec, directory, tmp_path):
    (train(spec, directory, tmp_path / "run", "cpu").parent / "spec.json").unlink()
    with pytest.raises(UserError, match=r"weights.safetensors: of another spec; train in another folder"):
        train(replace(spec, seed=spec.seed + 1), directory, tmp_path / "run", "cpu")


def test_a_folder_in_which_nothing_was_trained_is_free(spec, directory, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "spec.json").write_text(to_json(replace(spec, seed=spec.seed + 1)))
    assert train(spec, directory, tmp_path / "run", "cpu").exists()


def test_finished_run_of_other_data_is_refused(spec, directory, tmp_path):
    train(spec, directory, tmp_path / "run", "cpu")
    path = directory / "Maps_Mtot_MockTNG_LH_z=0.00.npy"
    np.save(path, np.flip(np.load(path), axis=1).copy())
    with pytest.raises(UserError, match="trained on other data"):
        train(spec, directory, tmp_path / "run", "cpu", check=False)


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_finished_run_with_damaged_weights_says_what_to_delete(spec, directory, tmp_path, content):
    path = train(spec, directory, tmp_path / "run", "cpu")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] if content is None else content)
    with pytest.raises(UserError, match=r"weights.safetensors: damaged.*; delete it, and the same command trains"):
        train(spec, directory, tmp_path / "run", "cpu")
    path.unlink()
    train(spec, directory, tmp_path / "run", "cpu")
    assert path.read_bytes()[-1000:] == whole[-1000:]


def test_split_without_a_validation_set_is_refused_before_any_map_is_read(spec, directory, tmp_path):
    path = directory / "Maps_Mtot_MockTNG_LH_z=0.00.npy"
    np.save(path, np.full_like(np.load(path), np.nan))
    with pytest.raises(UserError, match="each needs one at least"):
        train(replace(spec, split=SplitSpec(validation=0.05)), directory, tmp_path / "run", "cpu")


def test_finished_run_of_an_earlier_version_is_told_as_one(spec, directory, tmp_path, monkeypatch):
    path = train(spec, directory, tmp_path / "run", "cpu")
    known = load(path, "cpu")
    old = replace(known, provenance=known.provenance | {"data_fingerprint": "0123456789abcdef"})
    monkeypatch.setattr("fieldlevel.training.run_folder.read_weights_file", lambda *_: old)
    with pytest.raises(
        UserError, match="an earlier version, which looked at 64 maps of its data only; use it as it is"
    ):
        train(spec, directory, tmp_path / "run", "cpu")


def test_finished_run_is_not_that_of_other_maps_whichever_they_are(spec, directory, tmp_path):
    train(spec, directory, tmp_path / "run", "cpu")
    path = directory / "Maps_Mtot_MockTNG_LH_z=0.00.npy"
    maps = np.load(path)
    maps[7, 3, 3] *= 1.5
    np.save(path, maps)
    with pytest.raises(UserError, match="trained on other data"):
        train(spec, directory, tmp_path / "run", "cpu")


def test_folder_of_another_spec_is_refused(spec, directory, tmp_path):
    train(spec, directory, tmp_path / "run", "cpu")
    with pytest.raises(UserError, match=rf"another spec \(seed: {spec.seed} there, 1 here\)"):
        train(replace(spec, seed=1), directory, tmp_path / "run", "cpu")


def test_folder_that_cannot_be_made_is_refused(spec, directory, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        train(spec, directory, tmp_path / "file", "cpu")


def test_no_test_map_is_reachable(spec, directory, tmp_path):
    whole = train(spec, directory, tmp_path / "whole", "cpu")
    suite = open_suite(directory, "MockTNG")
    test = split_simulations(8, train=0.75, validation=0.125).test
    maps, parameters = suite.maps.copy(), suite.parameters.copy()
    maps[suite.maps_of(test)] = np.nan
    parameters[test] = (CMD.lows + CMD.highs) / 2
    np.save(suite.files.maps_path, maps)
    np.savetxt(suite.files.parameters_path, parameters, fmt="%.6f")
    with pytest.raises(DataError):
        train(spec, directory, tmp_path / "refused", "cpu")
    poisoned = train(spec, directory, tmp_path / "poisoned", "cpu", check=False)
    assert_same_weights(weights_of(whole), weights_of(poisoned))
    assert load(whole).normaliser == load(poisoned).normaliser


@pytest.mark.parametrize("preset", TRAIN_PRESETS)
def test_presets_train(preset, directory, tmp_path, spec):
    small = replace(TRAIN_PRESETS[preset](), split=spec.split, network=spec.network, n_steps=6, validate_every=3)
    path = train(replace(small, batch_size=16), directory, tmp_path / "run", "cpu")
    assert len(read_history(path.parent)) == 2


@pytest.mark.parametrize(
    ("method", "steps"), [("AdamW", (8,)), ("AdamW", (10,)), ("AdamW", (20,)), ("Muon", (24,)), ("Muon", (10, 20, 30))]
)
def test_interrupted_run_ends_with_the_same_bits(spec, directory, tmp_path, method, steps):
    spec = replace(spec, optimiser=replace(spec.optimiser, method=method))
    whole = train(spec, directory, tmp_path / "whole", "cpu")
    for step in steps:
        with pytest.raises(InterruptionError):
            train(spec, directory, tmp_path / "run", "cpu", interrupt_at(step))
    resumed = train(spec, directory, tmp_path / "run", "cpu")
    assert_same_weights(weights_of(whole), weights_of(resumed))
    for one, other in zip(read_history(whole.parent), read_history(resumed.parent), strict=True):
        assert one | {"seconds": ""} == other | {"seconds": ""}


def test_history_has_a_row_at_every_validation_while_the_run_goes_on(spec, directory, tmp_path):
    found = {}

    def listener(event):
        path = tmp_path / "run" / "history.csv"
        if event.task.startswith("train") and path.exists():
            found[event.done] = [int(row["step"]) for row in read_history(path.parent)]

    train(spec, directory, tmp_path / "run", "cpu", listener)
    assert found == {10: [8], 16: [8], 20: [8, 16], 24: [8, 16], 30: [8, 16, 24]}


def test_resumed_run_has_no_row_twice(spec, directory, tmp_path, monkeypatch):
    """The state is put off, so that the history of the run that was interrupted is ahead of it."""
    monkeypatch.setattr(resume, "QUICK", -1.0)
    monkeypatch.setattr(resume, "SHARE", 1e-9)
    run, seen = tmp_path / "run", []
    with pytest.raises(InterruptionError):
        train(spec, directory, run, "cpu", interrupt_at(20))
    assert [row["step"] for row in read_history(run)] == ["8", "16"]
    assert torch.load(run / "resume.pt", weights_only=True)["step"] == 8

    def listener(event):
        if event.task.startswith("train"):
            seen.append([row["step"] for row in read_history(run)])

    train(spec, directory, run, "cpu", listener)
    assert seen[0] == ["8"]
    assert [row["step"] for row in read_history(run)] == ["8", "16", "24", "30"]


KILLED_WHILE_SAVING = """
import io, os, signal, sys, torch
from pathlib import Path
from fieldlevel.spec_io import from_json
from fieldlevel.training import resume
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.trainer import train

resume.QUICK = 1e9
write_bytes = Path.write_bytes

def write_half_then_die(path, content):
    if not path.name.endswith("resume.pt") or torch.load(io.BytesIO(content), weights_only=True)["step"] < 24:
        return write_bytes(path, content)
    write_bytes(path, content[: len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

Path.write_bytes = write_half_then_die
torch.set_num_threads(int(sys.argv[4]))
train(from_json(TrainSpec, sys.argv[1]), sys.argv[2], sys.argv[3], "cpu")
"""


@pytest.mark.parametrize(("quick", "n_written"), [(1e9, 4), (-1.0, 1)])
def test_slow_writing_of_the_state_is_put_off(spec, directory, tmp_path, monkeypatch, quick, n_written):
    written = []
    monkeypatch.setattr(resume, "QUICK", quick)
    monkeypatch.setattr(resume, "SHARE", 1e-9)
    monkeypatch.setattr(resume, "write_state", lambda path, state: written.append(state["step"]))
    train(spec, directory, tmp_path / "run", "cpu")
    assert written == [8, 16, 24, 30][:n_written]


def test_run_killed_while_saving_goes_on_from_the_state_before(spec, directory, tmp_path):
    whole = train(spec, directory, tmp_path / "whole", "cpu")
    arguments = [to_json(spec), str(directory), str(tmp_path / "run"), str(torch.get_num_threads())]
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_SAVING, *arguments], check=False, env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    assert torch.load(tmp_path / "run" / "resume.pt", weights_only=True)["step"] == 16
    assert_same_weights(weights_of(whole), weights_of(train(spec, directory, tmp_path / "run", "cpu")))


FILES = ["spec.json", "resume.pt", "history.csv", "weights.safetensors"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("name", FILES)
def test_full_disk_is_told_with_the_name_of_the_file(spec, directory, tmp_path, full_disk, name):
    """What stands where the file is written aside takes no byte; then there is room again, and the run goes on."""
    run = tmp_path / "run"
    with full_disk(name), pytest.raises(OSError, match="No space left") as error:
        train(spec, directory, run, "cpu")
    assert error.value.filename == str(run / name)
    assert [file.name for file in run.iterdir() if file.name.startswith(".") or file.name == name] == []
    whole = train(spec, directory, tmp_path / "whole", "cpu")
    assert_same_weights(weights_of(whole), weights_of(train(spec, directory, run, "cpu")))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_command_tells_a_full_disk_in_one_line(directory, tmp_path, capsys, full_disk):
    sizes = ["--split.train", "0.75", "--split.validation", "0.125", "--network.hidden", "1", "--n-steps", "4"]
    arguments = ["train", "--data", str(directory), "--out", str(tmp_path / "run"), "--device", "cpu"]
    with full_disk("resume.pt"):
        assert main([*arguments, *sizes, "--validate-every", "2", "--batch-size", "16"]) == 1
    told = capsys.readouterr().err
    assert "resume.pt: No space left on device" in told.replace("\n", "")
    assert "Traceback" not in told


def test_state_of_another_spec_or_other_maps_is_refused(spec, training, validation, tmp_path):
    path = tmp_path / "resume.pt"
    with pytest.raises(InterruptionError):
        train_network(spec, training, validation, path, interrupt_at(20), facts=["one suite"])
    with pytest.raises(UserError, match="another spec or other data"):
        train_network(replace(spec, seed=1), training, validation, path, facts=["one suite"])
    with pytest.raises(UserError, match="another spec or other data"):
        train_network(spec, training, validation, path, facts=["another suite"])


@pytest.mark.parametrize("write", [lambda path: path.write_bytes(b"no state"), lambda path: torch.save([1], path)])
def test_unreadable_state_is_refused(spec, training, validation, tmp_path, write):
    path = tmp_path / "resume.pt"
    write(path)
    with pytest.raises(UserError, match="cannot be read"):
        train_network(spec, training, validation, path)


def test_caller_keeps_its_random_numbers_and_the_run_does_not_see_them(spec, training, validation):
    weights = []
    for seed in range(2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        weights.append(train_network(spec, training, validation).network.state_dict())
        assert torch.equal(torch.get_rng_state(), before)
    assert_same_weights(*weights)


def test_another_seed_gives_another_network(spec, training, validation):
    one, other = (train_network(replace(spec, seed=seed), training, validation).network for seed in range(2))
    assert not torch.equal(one.head.FC2.weight, other.head.FC2.weight)


def test_network_is_the_one_with_the_lowest_validation_loss(spec, training, validation):
    restless = replace(
        spec,
        n_steps=60,
        validate_every=3,
        statistics_batches=0,
        head_batches=0,
        optimiser=replace(spec.optimiser, learning_rate=0.1),
    )
    trained = train_network(restless, training, validation)
    losses = [row.validation_loss for row in trained.history]
    assert losses[-1] > min(losses)
    assert trained.validation_loss == pytest.approx(min(losses), rel=SINGLE)
    assert trained.validation_loss == validation_loss(trained.network, validation, restless.batch_size)


def test_statistics_of_the_batch_norms_alone_are_measured_again(spec, training, validation):
    moving, measured = (
        train_network(replace(spec, statistics_batches=n, head_batches=0), training, validation).network.state_dict()
        for n in (0, 5)
    )
    others = {name for name, value in moving.items() if not torch.equal(value, measured[name])}
    assert others == {name for name in moving if name.endswith(("running_mean", "running_var", "num_batches_tracked"))}


def test_last_row_of_the_history_has_the_time_of_the_statistics_and_the_head(spec, training, validation):
    state = TrainingState(spec, training, validation)
    state.advance(ignore)
    *before, last = state.best_network().history
    assert not before
    assert replace(last, seconds=0.0) == replace(state.history[0], seconds=0.0)
    assert last.seconds > state.history[0].seconds


def test_head_that_cannot_be_fitted_is_told_as_such(spec, training, validation, monkeypatch):
    monkeypatch.setattr("fieldlevel.training.head.RATE", float("inf"))
    with pytest.raises(TrainingError, match="head_batches = 0"):
        train_network(spec, training, validation)


def test_head_alone_is_fitted_again(spec, training, validation):
    trained, fitted = (
        train_network(replace(spec, head_batches=n), training, validation).network.state_dict() for n in (0, 5)
    )
    others = {name for name, value in trained.items() if not torch.equal(value, fitted[name])}
    assert others == {name for name in trained if name.startswith("head.")}


def test_told_validation_loss_is_that_of_the_network_as_it_predicts(spec, training, validation):
    trained = train_network(replace(spec, statistics_batches=5), training, validation)
    assert trained.validation_loss == validation_loss(trained.network, validation, spec.batch_size)
    assert trained.validation_loss not in [row.validation_loss for row in trained.history]


@pytest.mark.parametrize("batch_size", [1, 24, 1000])
def test_validation_loss_is_exact_over_all_symmetries(validation, batch_size):
    torch.manual_seed(0)
    network = MomentNetwork(16, 2, dropout=0.5)
    loss = validation_loss(network, validation, batch_size)
    assert network.training
    with torch.inference_mode():
        mean, std = network.eval()(all_symmetries(validation.maps).reshape(-1, 1, 16, 16))
    assert loss == pytest.approx(moment_loss(mean, std, validation.theta.repeat(8, 1)).item(), rel=SINGLE)


def test_validation_loss_does_not_change_when_the_maps_are_turned(validation):
    network = MomentNetwork(16, 2, dropout=0.0)
    turned = replace(validation, maps=apply_symmetry(validation.maps, 6))
    assert validation_loss(network, turned, 64) == pytest.approx(validation_loss(network, validation, 64), rel=SINGLE)


def test_auto_precision_on_the_cpu_is_float32(spec, training, validation):
    auto, single = (
        train_network(replace(spec, precision=name), training, validation).network.state_dict()
        for name in ("auto", "float32")
    )
    assert_same_weights(auto, single)


def test_bfloat16_keeps_the_weights_in_float32(spec, training, validation):
    trained = train_network(replace(spec, precision="bfloat16"), training, validation)
    single = train_network(spec, training, validation)
    assert all(parameter.dtype == torch.float32 for parameter in trained.network.parameters())
    assert trained.history[0].training_loss == pytest.approx(single.history[0].training_loss, abs=0.1)
    assert trained.history[0].training_loss != single.history[0].training_loss


def test_std_outputs_rest_during_the_squared_error_warm_up(spec, training, validation):
    warming = replace(spec, n_steps=20, squared_error_steps=9, optimiser=replace(spec.optimiser, weight_decay=0.0))
    with seeded(0, torch.device("cpu")):
        state = TrainingState(warming, training, validation)
        weights = []
        for step in range(10):
            state.take_step(step)
            weights.append(state.network.head.FC2.weight[6:].detach().clone())
    assert all(torch.equal(each, weights[0]) for each in weights[:9])
    assert not torch.equal(weights[9], weights[0])


@pytest.mark.parametrize("method", ["AdamW", "Muon"])
def test_learning_rate_of_the_schedule_reaches_every_weight(spec, training, validation, method):
    """Weights move by about the rate of each step, which the schedule sets: a tenth of the highest in the first."""
    rising = replace(spec.optimiser, method=method, learning_rate=0.1, weight_decay=0.0, warm_up=1 / 3)
    with seeded(0, torch.device("cpu")):
        state = TrainingState(replace(spec, optimiser=rising), training, validation)
        for step in (0, 9):
            before = [weight.detach().clone() for weight in state.network.parameters()]
            state.take_step(step)
            rate = (step + 1) / 10 * 0.1
            for weight, old in zip(state.network.parameters(), before, strict=True):
                moved = (weight.detach() - old).square().mean().sqrt() / rate
                assert (0.05 < moved < 2.0) if weight.requires_grad else moved == 0.0


def test_a_rate_of_nothing_moves_nothing(spec, training, validation):
    frozen = OptimiserSpec(learning_rate=1e-30, weight_decay=0.0)
    still = train_network(replace(spec, optimiser=frozen), training, validation)
    moving = train_network(spec, training, validation)
    assert not torch.equal(still.network.head.FC1.weight, moving.network.head.FC1.weight)
    start = train_network(replace(spec, optimiser=frozen, n_steps=1), training, validation)
    assert torch.equal(still.network.head.FC1.weight, start.network.head.FC1.weight)


def test_a_long_gradient_is_shortened_and_a_short_one_is_not(spec, training, validation):
    """As one vector over all weights: its direction stays."""

    def gradient(longest: float | None) -> torch.Tensor:
        shortening = replace(spec, optimiser=OptimiserSpec(longest_gradient=longest), squared_error_steps=0)
        with seeded(0, torch.device("cpu")):
            state = TrainingState(shortening, training, validation)
            state.take_step(0)
        return torch.cat([weight.grad.flatten() for weight in state.network.parameters() if weight.requires_grad])

    whole = gradient(None)
    length = whole.norm().item()
    torch.testing.assert_close(gradient(length / 3), whole / 3)
    assert torch.equal(gradient(3 * length), whole)


def test_poisoned_training_map_stops_with_step_and_remedy(spec, training, validation, tmp_path):
    training.maps[33, 4, 4] = torch.nan
    sampler = BatchSampler(training, spec.batch_size, spec.augmentation, spec.seed)
    step = next(step for step in range(1, 100) if sampler.draw()[0].isnan().any())
    with pytest.raises(TrainingError, match=rf"training loss is nan at step {step} \(learning rate .*lower"):
        train_network(spec, training, validation, tmp_path / "resume.pt")
    assert not (tmp_path / "resume.pt").exists()


def test_poisoned_validation_map_stops_with_step_and_remedy(spec, training, validation):
    validation.maps[3, 4, 4] = torch.nan
    with pytest.raises(TrainingError, match=r"validation loss is nan at step 8 .*squared_error_steps"):
        train_network(spec, training, validation)


def test_absurd_learning_rate_stops(spec, training, validation):
    absurd = replace(spec, optimiser=OptimiserSpec(learning_rate=1e25, warm_up=0.0))
    with pytest.raises(TrainingError, match=r"at step \d+ \(learning rate 9\.\d+e\+24\)"):
        train_network(absurd, training, validation)


def test_progress_counts_steps_and_tells_the_losses(spec, training, validation):
    events = []
    train_network(spec, training, validation, listener=events.append)
    after, events = events[6:], events[:6]
    assert [event.done for event in events] == [8, 10, 16, 20, 24, 30]
    assert {(event.task, event.total, event.unit) for event in events} == {("train MockTNG", 30, "steps")}
    assert events[0].detail.startswith("loss ")
    assert "validation" in events[-1].detail
    settled = [
        ("settle the statistics, MockTNG", spec.statistics_batches),
        ("fit the head, MockTNG", spec.head_batches),
    ]
    wanted = [(task, done, n, "batches") for task, n in settled for done in range(1, n + 1)]
    assert [(event.task, event.done, event.total, event.unit) for event in after] == wanted


def test_progress_carries_the_numbers_of_the_history(spec, training, validation):
    events = []
    history = train_network(spec, training, validation, listener=events.append).history
    told = [event for event in events if "validation_loss" in event.numbers]
    assert [event.done for event in told] == [row.step for row in history]
    for event, row in zip(told, history, strict=True):
        expected = {"loss": row.training_loss, "learning_rate": row.learning_rate}
        assert event.numbers == expected | {"validation_loss": row.validation_loss}
    steps = [event for event in events if event.unit == "steps"]
    assert {tuple(event.numbers) for event in steps} - {tuple(told[0].numbers)} == {("loss", "learning_rate")}


def test_a_trained_network_is_told_in_a_line(spec, training, validation):
    trained = train_network(spec, training, validation)
    assert repr(trained) == f"<TrainedNetwork after 30 steps: validation loss {trained.validation_loss:.4g}>"
