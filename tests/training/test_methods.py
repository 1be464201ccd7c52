"""Methods of training several suites together: with no weight they are pooling, and what they claim they do."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from stopping import InterruptionError, interrupt_at
from toy_suites import SPEC, suite, unlabelled, with_sources

from fieldlevel.data.batches import BatchSampler, MapSet
from fieldlevel.errors import UserError
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.spec_io import to_json
from fieldlevel.training.method import Method, SourceLosses, source_losses
from fieldlevel.training.methods import METHODS, make_method
from fieldlevel.training.methods.group_dro import GroupDro
from fieldlevel.training.methods.mmd import WIDTHS, discrepancy
from fieldlevel.training.methods.randomised import Randomised, siblings_of
from fieldlevel.training.methods.vrex import VRex
from fieldlevel.training.settings import check_train_spec
from fieldlevel.training.source_spec import SourceSpec
from fieldlevel.training.state import TrainedNetwork, TrainingState
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec
from fieldlevel.training.trainer import train_network

BRIEF = TrainSpec(
    network=NetworkSpec(hidden=1, dropout=0.3),
    optimiser=OptimiserSpec(learning_rate=1e-2),
    batch_size=24,
    n_steps=24,
    validate_every=8,
    statistics_batches=3,
    head_batches=3,
)
WITH_TARGET = ("mmd", "adversarial", "batch-norms")
OTHERS = [name for name in METHODS if name != "pooled"]
SINGLE = 1e-5
"""Sums of float32 numbers in another order."""


def maps_of(number: int, n_maps: int, seed: int, *, labelled: bool = True) -> MapSet:
    """Maps of a suite with two shared outputs and one of its own; rows are universes of all suites."""
    universe, own = (torch.Generator().manual_seed(10 * seed + part) for part in (0, 1 + number))
    theta = torch.cat([torch.rand(n_maps, 2, generator=universe), torch.rand(n_maps, 3, generator=own)], dim=1)
    maps = torch.randn(n_maps, 16, 16, generator=universe) + theta[:, :1, None]
    maps = maps + 0.3 * (1 + number) * torch.randn(n_maps, 16, 16, generator=own)
    theta[:, [column for column in (2, 3, 4) if column != 2 + number]] = torch.nan
    theta = theta if labelled else torch.full_like(theta, torch.nan)
    simulation = torch.arange(n_maps) // 3
    return MapSet(maps, theta, simulation, torch.full_like(simulation, number), torch.zeros_like(simulation))


def sets_of(*, target: bool) -> tuple[list[MapSet], MapSet]:
    training = [maps_of(number, 60, 1, labelled=number < 2) for number in range(2 + target)]
    return training, MapSet.joined([maps_of(number, 15, 2) for number in range(2)])


def run(spec: TrainSpec, *arguments, target: bool = False) -> TrainedNetwork:
    training, validation = sets_of(target=target)
    return train_network(with_sources(spec, training), MapSet.joined(training), validation, *arguments)


def assert_same(one: TrainedNetwork, other: TrainedNetwork) -> None:
    theirs = other.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in one.network.state_dict().items())
    assert [row.training_loss for row in one.history] == [row.training_loss for row in other.history]
    assert one.validation_loss == other.validation_loss


def differ(one: TrainedNetwork, other: TrainedNetwork) -> bool:
    theirs = other.network.state_dict()
    return not all(torch.equal(value, theirs[name]) for name, value in one.network.state_dict().items())


@pytest.mark.parametrize(
    ("name", "target"),
    [(name, False) for name in OTHERS if name != "batch-norms"] + [(name, True) for name in WITH_TARGET],
)
def test_a_method_of_no_weight_is_pooling_to_the_bit(name, target):
    pooled = run(BRIEF, target=target and name != "batch-norms")
    idle, active = (
        run(replace(BRIEF, method=name, method_options=options), target=target) for options in ({"weight": 0.0}, {})
    )
    assert_same(idle, pooled)
    assert differ(active, pooled)


def test_pooling_is_the_default_and_no_part_of_its_json():
    assert TrainSpec(method="pooled") == TrainSpec()
    assert not {"method", "method_options"} & json.loads(to_json(TrainSpec())).keys()
    sources = json.loads(to_json(TrainSpec(sources=(SourceSpec("SIMBA"), SourceSpec("Astrid")))))["sources"]
    assert all(source.keys() == {"suite", "set_name", "labelled", "share"} for source in sources)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("step", [8, 20])
def test_a_killed_run_ends_with_the_same_bits(name, step, tmp_path):
    spec, target = replace(BRIEF, method=name), name in WITH_TARGET
    with pytest.raises(InterruptionError):
        run(spec, tmp_path / "resume.pt", interrupt_at(step), target=target)
    assert_same(run(spec, tmp_path / "resume.pt", target=target), run(spec, target=target))


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("head", ["moments", "gaussian"])
def test_a_method_works_with_any_head_a_warm_up_and_in_bfloat16(name, head):
    precise = {"precision": "bfloat16", "squared_error_steps": 10, "head": head, "joint_steps": 20}
    spec = replace(BRIEF, method=name, network=NetworkSpec(hidden=1, dropout=0.0), **precise)
    trained = run(spec, target=name in WITH_TARGET)
    assert all(math.isfinite(row.training_loss) for row in trained.history)
    assert math.isfinite(trained.validation_loss)


def test_a_state_of_another_method_is_damaged(tmp_path):
    path = tmp_path / "resume.pt"
    with pytest.raises(InterruptionError):
        run(replace(BRIEF, method="group-dro"), path, interrupt_at(20))
    state = torch.load(path, weights_only=True)
    assert state["method"]["tensors"].keys() == {"log_q"}
    state["method"]["tensors"]["log_q"] = torch.zeros(3)
    torch.save(state, path)
    with pytest.raises(UserError, match=re.escape(f"{path}: damaged (method: log_q is no tensor of shape (2,)")):
        run(replace(BRIEF, method="group-dro"), path)


def made(name: str, **options) -> tuple[TrainingState, MapSet]:
    training, validation = sets_of(target=False)
    spec = check_train_spec(with_sources(replace(BRIEF, method=name, method_options=options), training))
    joined = MapSet.joined(training)
    return TrainingState(spec, joined, validation), joined


def test_losses_of_sources_are_those_of_their_maps_alone():
    state, _ = made("vrex")
    batch, network = state.sampler.draw(), state.network.eval()
    answer = network(batch.maps)
    found = source_losses(
        state.method, lambda theta: network.sums(answer, theta), network.loss, batch, lambda sums: sums
    )
    for number in (0, 1):
        rows = batch.source == number
        alone = tuple(moment[rows] for moment in answer)
        theta = batch.theta[rows]
        own = network.loss(network.sums(alone, theta))
        torch.testing.assert_close(found.own[number], own, rtol=SINGLE, atol=0)
        of_shared = theta.where(torch.tensor([True, True, False, False, False]), torch.tensor(torch.nan))
        shared = network.loss(network.sums(alone, of_shared))
        torch.testing.assert_close(found.shared[number], shared, rtol=SINGLE, atol=0)


def test_the_weights_of_group_dro_follow_the_losses():
    state, _ = made("group-dro", step=0.5)
    method, losses = state.method, SourceLosses(torch.tensor([2.0, 4.0]), torch.tensor([1.0, 3.0]))
    assert isinstance(method, GroupDro)
    loss = method.loss(torch.tensor(7.0), losses)
    q = torch.tensor([0.5, 0.5]) * torch.exp(0.5 * losses.shared)
    q /= q.sum()
    torch.testing.assert_close(method.log_q.exp(), q)
    assert loss.item() == pytest.approx((q * losses.own).sum().item())


def test_vrex_adds_the_variance_of_the_shared_losses():
    state, _ = made("vrex", weight=3.0)
    assert isinstance(state.method, VRex)
    losses = SourceLosses(torch.tensor([9.0, 9.0]), torch.tensor([1.0, 5.0]))
    assert state.method.loss(torch.tensor(7.0), losses).item() == pytest.approx(7.0 + 3.0 * 4.0)


def test_the_discrepancy_is_that_of_its_definition():
    generator = torch.Generator().manual_seed(0)
    x, source = torch.randn(30, 4, generator=generator, dtype=torch.float64), torch.arange(30) % 3
    squares = torch.cdist(x, x).square()
    mean = squares.sum() / (30 * 29)
    kernel = sum(torch.exp(-squares / (width * mean)) for width in WIDTHS) / len(WIDTHS)
    rows = [source == number for number in range(3)]
    pairs = [
        kernel[a][:, a].mean() + kernel[b][:, b].mean() - 2 * kernel[a][:, b].mean()
        for a, b in ((rows[0], rows[1]), (rows[0], rows[2]), (rows[1], rows[2]))
    ]
    assert discrepancy(x, source, 3).item() == pytest.approx((sum(pairs) / 3).item(), rel=1e-9)
    assert discrepancy(x, source, 4).item() == pytest.approx((sum(pairs) / 3).item(), rel=1e-9)


def test_mmd_is_of_the_features_and_of_the_first_layer_of_the_head():
    state, _ = made("mmd", weight=2.0)
    penalty, features = state.method.penalty, torch.randn(24, state.network.n_features, requires_grad=True)
    source = torch.arange(24) % 2
    loss = penalty.loss(features, source, torch.zeros(24, 5))
    layer = state.network.head.FC1
    expected = 2.0 * (discrepancy(features, source, 2) + discrepancy(layer(features), source, 2))
    assert loss.item() == pytest.approx(expected.item(), rel=SINGLE)
    loss.backward()
    assert features.grad.abs().sum() > 0
    assert layer.weight.grad.abs().sum() > 0
    assert not list(penalty.parameters())


def test_a_critic_hears_more_and_more_and_moves_the_features_against_it():
    state, _ = made("adversarial", weight=2.0, condition="none")
    critic, source = state.method.penalty, torch.arange(24) % 2
    features = (torch.randn(24, state.network.n_features) + source[:, None]).requires_grad_()
    theta = torch.rand(24, 5)
    assert critic.loss(features, source, theta).item() == 0
    before = critic.cross_entropy(features, source, theta).item()
    for _ in range(12):
        critic.update(features.detach(), source, theta)
    after = critic.cross_entropy(features, source, theta)
    assert after.item() < before
    ramp = 2 / (1 + math.exp(-10 * 12 / BRIEF.n_steps)) - 1
    assert critic.loss(features, source, theta).item() == pytest.approx(-2 * ramp * after.item(), rel=SINGLE)


def test_a_critic_reads_targets_where_they_are_known_and_means_elsewhere():
    state, _ = made("adversarial", condition="targets")
    given = state.method.penalty._condition
    features, theta = torch.randn(6, state.network.n_features), torch.rand(6, 5)
    theta[3:] = torch.nan
    state.network.eval()
    mean, _ = state.network.answer_of(features)
    torch.testing.assert_close(given(features, theta), torch.cat([theta[:3, :2], mean[3:, :2]]))


def randomised(**options) -> tuple[Randomised, BatchSampler, MapSet]:
    state, training = made("randomised", **options)
    assert isinstance(state.method, Randomised)
    return state.method, state.sampler, training


def test_siblings_are_maps_of_one_universe_and_place_in_another_suite():
    training = MapSet.joined(sets_of(target=False)[0])
    siblings, counts = siblings_of(training, (0, 1), torch.tensor([True, True, False, False, False]))
    assert counts.tolist() == [1] * 120
    assert siblings[:, 0].tolist() == [*range(60, 120), *range(60)]
    stranger = replace(training, seeds=training.source)
    assert not siblings_of(stranger, (0, 1), torch.tensor([True, True, False, False, False]))[1].any()
    other = training.theta.clone()
    other[60:63, 0] += 0.01
    counts = siblings_of(replace(training, theta=other), (0, 1), torch.tensor([True] * 2 + [False] * 3))[1]
    assert counts.nonzero().flatten().tolist() == [*range(3, 60), *range(63, 120)]


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.5])
def test_maps_are_mixed_with_their_siblings_turned_alike(alpha):
    method, sampler, _ = randomised(weight=1.0, low=alpha, high=alpha, transfer=0.0)
    chosen = method.choose(sampler)
    batch, plain = method.gather(sampler, chosen), sampler.gather(chosen[:, :4])
    partners = torch.cat([(chosen[:, :1] + 60) % 120, chosen[:, 1:4]], dim=1)
    expected = plain.maps + alpha * (sampler.gather(partners).maps - plain.maps)
    torch.testing.assert_close(batch.maps, expected, rtol=0, atol=1e-5)
    assert torch.equal(batch.theta[:, :2], plain.theta[:, :2])
    assert batch.theta[:, 2:].isnan().all()


def test_a_transfer_function_is_smooth_and_leaves_the_mean():
    method, sampler, _ = randomised(weight=1.0, low=0.0, high=0.0)
    chosen = method.choose(sampler)
    changed, plain = method.gather(sampler, chosen).maps, sampler.gather(chosen[:, :4]).maps
    torch.testing.assert_close(changed.mean((2, 3)), plain.mean((2, 3)), rtol=0, atol=1e-5)
    ratio = torch.fft.rfft2(changed.double()) / torch.fft.rfft2(plain.double())
    assert ratio.imag.abs().median() < 1e-4
    scatter = ratio.real[:, 0, 0, 1].log().std().item()  # the longest wave, at the first knot
    assert scatter == pytest.approx(0.3, rel=0.35)


def test_what_is_randomised_depends_on_the_place_in_the_batch_alone():
    (method, sampler, training), (again, _, _) = randomised(), randomised()
    halves = [
        BatchSampler(training, 24, "symmetries+shifts", 0, part, (12, 12)) for part in (slice(0, 12), slice(12, 24))
    ]
    whole = method.choose(sampler)
    parts = []
    for half in halves:
        again.n_batches = 0
        parts.append(again.choose(half))
    assert sorted(torch.cat(parts).tolist()) == sorted(whole.tolist())
    assert not torch.equal(method.choose(sampler)[:, 4:], whole[:, 4:])


def test_part_of_the_maps_is_changed():
    method, sampler, _ = randomised(weight=0.25)
    draws = [method.gather(sampler, method.choose(sampler)).theta for _ in range(60)]
    changed = torch.stack([theta[:, 2:].isnan().all(1) for theta in draws]).float().mean().item()
    assert changed == pytest.approx(0.25, abs=0.04)


def test_statistics_of_the_target_are_those_of_its_maps():
    body = replace(BRIEF, body="toy_suites:Projections", body_options={"norms": True}, augmentation="symmetries")
    spec = replace(body, batch_size=60, statistics_batches=40)
    adapted = replace(spec, method="batch-norms", method_options={"n_batches": 40})
    training = [suite(1.0, 0, 60), suite(1.0, 1, 60), unlabelled(suite(1.0, 2, 60, scale=3.0))]
    validation = MapSet.joined([suite(1.0, number, 20, 5) for number in range(2)])
    found, plain = (
        train_network(with_sources(each, sets), MapSet.joined(sets), validation).network
        for each, sets in ((adapted, training), (spec, training[:2]))
    )
    (norm,), (before,) = (
        [part for part in each.modules() if isinstance(part, torch.nn.BatchNorm1d)] for each in (found, plain)
    )
    ratio = (norm.running_var / before.running_var).median().item()
    assert ratio == pytest.approx(9.0, rel=0.2)
    assert torch.equal(found.head.FC1.weight, plain.head.FC1.weight)


REFUSED = {
    "unknown": ({"method": "irm"}, "method = irm: must be pooled, group-dro, vrex, adversarial, mmd, batch-norms"),
    "no module": ({"method": "nowhere:Irm"}, "method = nowhere:Irm: cannot be imported"),
    "no method": ({"method": "torch.nn:Linear"}, "method = torch.nn:Linear: has no method choose"),
    "one suite": ({"method": "vrex"}, "method = vrex: needs 2 suites with labels, there is 1"),
    "nobody else": ({"method": "mmd"}, "method = mmd: needs 2 suites; give more by --suites or --align-with"),
    "no target": (
        {"method": "batch-norms", "sources": (SourceSpec("SIMBA"), SourceSpec("Astrid"))},
        "method = batch-norms: needs a suite without labels; give one by --align-with",
    ),
    "no option": ({"method_options": {"weight": 1.0}}, "weight is none of method = pooled; it has none"),
    "other option": (
        {"method": "vrex", "method_options": {"beta": 1.0}, "sources": (SourceSpec("SIMBA"), SourceSpec("Astrid"))},
        "method_options: beta is none of method = vrex; allowed are weight",
    ),
    "weight": (
        {"method": "vrex", "method_options": {"weight": -1.0}},
        "method_options weight = -1.0: must be a number, not negative",
    ),
    "condition": (
        {"method": "adversarial", "method_options": {"condition": "labels"}},
        "method_options condition = labels: must be outputs, targets, none",
    ),
    "idle target": (
        {"method": "mmd", "sources": (SourceSpec("SIMBA"), SourceSpec("Astrid", labelled=False, share=0.0))},
        "method = mmd: Astrid has share = 0",
    ),
    "summaries": (
        {
            "method": "randomised",
            "inputs": "power spectrum",
            "sources": (SourceSpec("SIMBA"), SourceSpec("Astrid")),
        },
        "method = randomised: works on maps",
    ),
    "a part": ({"sources": (SourceSpec("SIMBA", part=(0.5, 0.5)),)}, "part = 0.5 to 0.5 of SIMBA"),
    "with labels": (
        {"sources": (SourceSpec("SIMBA"), SourceSpec("Astrid", apart=True))},
        "Astrid has labels, but apart are sources without",
    ),
    "with itself": (
        {"sources": (SourceSpec("SIMBA"), SourceSpec("SIMBA", "CV", labelled=False, apart=True))},
        "SIMBA is trained on with labels; align with a suite that is not",
    ),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_in_one_line(change, words):
    with pytest.raises(UserError, match=re.escape(words)) as refused:
        check_train_spec(TrainSpec(**change))
    assert "\n" not in str(refused.value)


def test_to_align_in_vain_is_refused():
    sources = (SourceSpec("SIMBA"), SourceSpec("Astrid", labelled=False, apart=True))
    with pytest.raises(UserError, match="makes no use of Astrid without labels; give one of adversarial, mmd, batch"):
        check_train_spec(TrainSpec(sources=sources), refuse_idle=True)
    check_train_spec(TrainSpec(sources=sources))


def test_suites_without_siblings_cannot_be_randomised():
    training, validation = sets_of(target=False)
    strangers = MapSet.joined([replace(each, seeds=each.source) for each in training])
    spec = with_sources(replace(BRIEF, method="randomised"), training)
    with pytest.raises(UserError, match="no two suites with labels share initial conditions and cosmology"):
        train_network(spec, strangers, validation)


class Loudest(Method):
    """The loss of the worst suite alone."""

    needs_losses = True

    def __init__(self, spec, network, training, share: float = 1.0) -> None:
        super().__init__(spec, network, training)
        self.share = share

    def loss(self, pooled, losses):
        return (1 - self.share) * pooled + self.share * losses.own.max()


def test_a_method_of_ones_own_is_trained_by_its_import_path():
    own = run(replace(BRIEF, method="test_methods:Loudest"))
    assert differ(own, run(BRIEF))
    idle = run(replace(BRIEF, method="test_methods:Loudest", method_options={"share": 0.0}))
    assert_same(idle, run(BRIEF))


class Faulty(Method):
    """Fails where it is told to."""

    def __init__(self, spec, network, training, where: str = "loss") -> None:
        super().__init__(spec, network, training)
        self.where = where

    def _fail(self, where):
        if self.where == where:
            raise KeyError(where)

    def choose(self, sampler):
        self._fail("choose")
        return super().choose(sampler)

    def loss(self, pooled, losses):
        self._fail("loss")
        return torch.stack([pooled, pooled]) if self.where == "shape" else pooled

    def settle(self, network):
        self._fail("settle")


@pytest.mark.parametrize("where", ["choose", "loss", "settle"])
def test_a_method_that_fails_is_told_in_one_line(where):
    with pytest.raises(UserError, match=r"method = test_methods:Faulty: fails \(KeyError.*test_methods.py") as told:
        run(replace(BRIEF, method="test_methods:Faulty", method_options={"where": where}))
    assert "\n" not in str(told.value)


def test_a_loss_that_is_none_is_refused():
    with pytest.raises(UserError, match=r"method = test_methods:Faulty: its loss is \(2,\); it must be a scalar"):
        run(replace(BRIEF, method="test_methods:Faulty", method_options={"where": "shape"}))


def test_a_method_is_made_without_the_random_numbers_of_the_training():
    training, validation = sets_of(target=False)
    spec = check_train_spec(with_sources(replace(BRIEF, method="adversarial"), training))
    state = TrainingState(spec, MapSet.joined(training), validation)
    before = torch.get_rng_state()
    make_method(spec, state.network, MapSet.joined(training))
    assert torch.equal(torch.get_rng_state(), before)


def test_summaries_can_be_aligned():
    spec = replace(SPEC, body="", inputs="power spectrum", method="mmd", n_steps=4, validate_every=4)
    sets = [maps_of(number, 60, 1) for number in range(2)]
    as_summaries = [replace(each, maps=each.maps.flatten(1)) for each in sets]
    spec = with_sources(spec, as_summaries)
    trained = train_network(spec, MapSet.joined(as_summaries), as_summaries[0])
    assert np.isfinite(trained.validation_loss)
