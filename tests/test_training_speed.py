"""The released recipe of the benchmarks against the package's own float32 training; floors against what layers do."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fieldlevel.data.batches import MapSet
from fieldlevel.errors import UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.numerics.transforms import all_symmetries
from fieldlevel.progress import Progress, ignore
from fieldlevel.simulate.mock_suite import simulate_suite
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.training.presets import released_preset
from fieldlevel.training.state import TrainingState, validation_loss
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec

ROUND_OFF = 1e-4  # float32, some ten layers


@pytest.fixture
def training_speed(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    import training_speed  # noqa: PLC0415

    return training_speed


@pytest.fixture
def step_floors(training_speed) -> ModuleType:
    return sys.modules["step_floors"]


@pytest.fixture(autouse=True)
def seed() -> None:
    """Weights that no test before decides: from some, round-off grows beyond 1e-3 in eight steps of AdamW."""
    torch.manual_seed(4)


@pytest.fixture
def time_to_loss(training_speed) -> ModuleType:
    import time_to_loss  # noqa: PLC0415

    return time_to_loss


@pytest.fixture
def released(training_speed) -> ModuleType:
    return sys.modules["released_recipe"]


@pytest.fixture
def spec() -> TrainSpec:
    return replace(
        released_preset(),
        network=NetworkSpec(hidden=2, dropout=0.0),
        optimiser=OptimiserSpec(learning_rate=1.0, weight_decay=2.0, schedule="triangular"),
        augmentation="none",
        batch_size=6,
        n_steps=8,
        validate_every=1,
    )


def random_set(n_maps: int, n_pixels: int = 16) -> MapSet:
    generator = torch.Generator().manual_seed(1)
    maps = torch.randn(n_maps, n_pixels, n_pixels, generator=generator)
    return MapSet(maps, torch.rand(n_maps, 6, generator=generator), torch.arange(n_maps))


def symmetric_set(n_maps: int) -> MapSet:
    """Maps of which all eight copies are alike."""
    training = random_set(n_maps)
    return replace(training, maps=all_symmetries(training.maps).sum(0) / 8**0.5)


@pytest.mark.parametrize(("n_pixels", "hidden"), [(16, 3), (64, 1)])
@pytest.mark.parametrize("trains", [True, False])
def test_released_network_is_the_network_of_the_package(released, n_pixels, hidden, trains):
    own, other = MomentNetwork(n_pixels, hidden, dropout=0.0), released.ReleasedNetwork(n_pixels, hidden, dropout=0.0)
    other.load_state_dict(own.state_dict())
    maps = torch.randn(4, 1, n_pixels, n_pixels, generator=torch.Generator().manual_seed(2))
    expected, moments = (torch.stack(network.train(trains)(maps)) for network in (own, other))
    assert (moments - expected).abs().max() < ROUND_OFF * expected.abs().max()
    own.load_state_dict(other.state_dict())


def test_released_recipe_follows_training_of_the_package(released, spec):
    """A batch of eight equal copies of each map has the loss of one copy, and its gradients."""
    training = symmetric_set(spec.batch_size)
    state = TrainingState(spec, training, random_set(2))
    recipe = released.ReleasedRecipe(replace(spec, batch_size=8 * spec.batch_size), training)
    recipe.network.load_state_dict(state.network.state_dict())
    losses = [recipe.take_step().item() for _ in range(spec.n_steps)]
    while state.step < spec.n_steps:
        state.advance(ignore)
    assert losses == pytest.approx([row.training_loss for row in state.history], abs=1e-3)
    assert losses[-1] < losses[0] - 0.1


def test_epochs_of_the_released_recipe_hold_every_copy_once(released, spec):
    training = random_set(3)
    recipe = released.ReleasedRecipe(spec, training)
    drawn = []
    for _ in range(4):
        drawn.append(recipe.draw()[0])
        recipe.step_number += 1
    drawn, expected = (maps.flatten(1).sort(dim=0).values for maps in (torch.cat(drawn), recipe.maps))
    assert torch.equal(drawn, expected)
    assert torch.equal(expected, all_symmetries(training.maps).flatten(0, 1).flatten(1).sort(dim=0).values)


def test_copies_keep_the_targets_of_their_maps(released, spec):
    training = symmetric_set(3)
    recipe = released.ReleasedRecipe(spec, training)
    numbers = torch.cdist(recipe.maps.flatten(1), training.maps.flatten(1)).argmin(1)
    assert torch.equal(recipe.theta, training.theta[numbers])


def test_batch_of_more_maps_than_copies_is_refused(released, spec):
    with pytest.raises(UserError, match="batch_size = 25: there are 24 copies"):
        released.ReleasedRecipe(replace(spec, batch_size=25), random_set(3))


def test_validation_loss_of_the_released_recipe_is_that_of_the_package(released, spec):
    recipe = released.ReleasedRecipe(replace(spec, batch_size=16), random_set(3))
    recipe.take_step()
    own = MomentNetwork(16, 2, dropout=0.0)
    own.load_state_dict(recipe.network.state_dict())
    validation = random_set(5)
    assert recipe.validation_loss(validation) == pytest.approx(validation_loss(own, validation, 16), rel=ROUND_OFF)
    assert recipe.network.training


@pytest.mark.parametrize(("hidden", "n_pixels", "batch"), [(1, 16, 2), (3, 32, 4), (8, 256, 128), (12, 256, 64)])
def test_floors_count_what_the_layers_do(step_floors, released, hidden, n_pixels, batch):
    """PyTorch counts the operations of forward and backward; hooks count the outputs."""
    outputs = []
    with torch.device("meta"):
        network = released.ReleasedNetwork(n_pixels, hidden, dropout=0.0)
        maps = torch.empty(batch, 1, n_pixels, n_pixels)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda _layer, _inputs, output: outputs.append(output.numel()))
    with FlopCounterMode(display=False) as counter:
        torch.stack(network(maps)).sum().backward()
    assert step_floors.step_operations(hidden, n_pixels, batch) == counter.get_total_flops()
    first, others = step_floors.layer_outputs(hidden, n_pixels)
    assert [batch * first, batch * others] == [outputs[0], sum(outputs[1:])]


def test_bytes_of_a_step(step_floors):
    """Every pass through the outputs counts two bytes a number, every parameter 38 whatever the batch."""
    passes = step_floors.Passes(layer=3, first=2, maps=5)
    network = MomentNetwork(32, 4, dropout=0.0)
    fixed = step_floors.step_bytes(4, 32, 0, passes)
    assert fixed == 38 * sum(parameter.numel() for parameter in network.parameters())
    first, others = step_floors.layer_outputs(4, 32)
    assert step_floors.step_bytes(4, 32, 7, passes) - fixed == 2 * 7 * (2 * first + 3 * others + 5 * 32**2)


def test_stopwatch_leaves_out_warm_up_and_the_last_report(training_speed, monkeypatch):
    marks = {10: 5.0, 20: 6.0, 30: 6.1, 40: 6.4, 50: 6.6, 51: 90.0}
    watch = training_speed.Stopwatch()
    for step, seconds in marks.items():
        monkeypatch.setattr(training_speed.time, "perf_counter", lambda seconds=seconds: seconds)
        watch(Progress("train", step, 51, "steps"))
    assert watch.ms_per_step() == pytest.approx(20.0)


@pytest.fixture
def run(monkeypatch, tmp_path):
    def run_benchmark(script: ModuleType, *flags: str) -> dict:
        sizes = ["--device", "cpu", "--hidden", "1", "--batch", "8", "--json", str(tmp_path / "speed.json")]
        monkeypatch.setattr(sys, "argv", ["benchmark", *sizes, *flags])
        script.main()
        return json.loads((tmp_path / "speed.json").read_text())

    return run_benchmark


def test_table_of_speeds(run, training_speed, capsys):
    numbers = run(training_speed, "--n-pixels", "16", "--n-steps", "3", "--n-maps", "20", "--inference-batches", "4")
    assert [row["name"].split(",")[0] for row in numbers["training"]] == ["released recipe", *3 * ["fieldlevel"]]
    floor = numbers["floors"][0]
    for row in numbers["training"]:
        assert row["maps_per_s"] == pytest.approx(8e3 / row["ms_per_step"])
        assert row["share_fused"] == pytest.approx(floor["fused"] / row["ms_per_step"])
        assert row["times_released"] == pytest.approx(numbers["training"][0]["ms_per_step"] / row["ms_per_step"])
    assert [row["batch"] for row in numbers["inference"]] == [4, 4, 4]
    printed = capsys.readouterr().out
    assert all(f"{row['ms_per_step']:.2f}" in printed for row in numbers["training"])


@pytest.fixture
def cpu_step(training_speed) -> ModuleType:
    import cpu_step  # noqa: PLC0415

    return cpu_step


def test_changes_for_cpus_leave_the_losses(cpu_step):
    """Each change alone and both together take the steps of before, to round-off."""
    sizes = cpu_step.Arguments(hidden=4, n_pixels=16, batch=8, n_maps=20)
    maps = cpu_step.random_set(sizes)
    losses = {}
    for name, variant in cpu_step.VARIANTS.items():
        training = cpu_step.training_of(variant, sizes, maps)
        with cpu_step.changed(variant):
            losses[name] = [training.take_step(step).item() for step in range(3)]
    for name in ("channels last", "small matrices in Muon", "both"):
        assert losses[name] == pytest.approx(losses["before"], rel=1e-3, abs=1e-3)
    assert losses["both, bfloat16"] != pytest.approx(losses["before"], rel=1e-5)


def test_table_of_changes_for_cpus(cpu_step, capsys):
    rows = cpu_step.measure(cpu_step.Arguments(hidden=1, n_pixels=16, batch=8, n_maps=20, n_rounds=2))
    cpu_step.print_rows(rows)
    printed = capsys.readouterr().out
    assert [row.name for row in rows] == ["plain PyTorch (released recipe)", *cpu_step.VARIANTS]
    assert all(row.name in printed and f"{row.ms:.1f}" in printed for row in rows)
    assert [row.gain for row in rows[:2]] == [None, 0.0]


def test_ways_to_compute_end_with_the_measurement(training_speed):
    before = torch.backends.cudnn.allow_tf32
    for way, is_allowed in (("float32", False), ("TF32", True)):
        with training_speed.way_to_compute(way, torch.device("cpu")):
            assert torch.backends.cudnn.allow_tf32 == is_allowed
            assert not torch.is_autocast_enabled("cpu")
    assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.parametrize("is_charged", [False, True])
def test_time_to_loss(run, time_to_loss, capsys, tmp_path, is_charged):
    toy = SimulateSpec(n_simulations=8, n_particles=16, n_mesh=16, n_pixels=16)
    folder = simulate_suite(toy, tmp_path / "data", device="cpu")
    budget = ["--released-steps", "5", "--modern-steps", "4", "2", "--validate-every", "2", "--train", "0.5"]
    charged = ["--released-ms", "1000"] if is_charged else []
    numbers = run(time_to_loss, str(folder), *budget, *charged, "--validation", "0.25")
    steps = {name: [row["step"] for row in rows] for name, rows in numbers["runs"].items()}
    assert steps == {"released": [2, 4, 5], "modern 4": [2, 4], "modern 2": [2]}
    rows = numbers["runs"]["released"]
    assert numbers["target"] == min(row["loss"] for row in rows)
    assert ([row["seconds"] for row in rows] == [2.0, 4.0, 5.0]) == is_charged
    assert "the lowest of the released recipe" in capsys.readouterr().out


def test_seconds_to_a_loss(time_to_loss):
    rows = [time_to_loss.Validation(step, 10.0 * step, loss) for step, loss in ((1, 0.0), (2, -2.0), (3, -1.0))]
    assert [time_to_loss.seconds_to(target, rows) for target in (-1.0, -2.0, -2.1)] == [20.0, 20.0, None]


def test_one_process_has_its_own_rate_and_nobody_to_share_with(training_speed):
    import several_gpus  # noqa: PLC0415

    sizes = several_gpus.Arguments(
        hidden=1, n_pixels=16, batch=4, n_steps=2, n_maps=8, precision="float32", device="cpu"
    )
    rows = list(several_gpus.rows(sizes))
    assert [(row.method, row.n_processes, row.batch) for row in rows] == [("AdamW", 1, 4), ("Muon", 1, 4)]
    assert all(row.share == 1.0 for row in rows)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--device", "nonsense"], "device 'nonsense': each process takes a GPU of its own; use auto, cuda or cpu"),
        (["--device", "cpu", "--batch", "5"], "batch = 5: must be a multiple of the 2 processes"),
    ],
)
def test_what_several_processes_cannot_share_is_refused_in_a_line(training_speed, monkeypatch, capsys, flags, told):
    import several_gpus  # noqa: PLC0415

    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["several_gpus.py", *flags])
    with pytest.raises(SystemExit, match="2"):
        several_gpus.run(several_gpus.main)
    assert capsys.readouterr() == ("", f"several_gpus.py: {told}\n")
