"""A network with the interface of sbi's posteriors, and the diagnostics of sbi on it where sbi is installed."""

import copy
import io
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

import fieldlevel
from fieldlevel.errors import UserError
from fieldlevel.inference import sbi_export

EXAMPLES = Path(__file__).parents[2] / "examples"
UNIT = [[0.5, 0.5], [0.3, 0.7], [0.6, 0.4]]


@pytest.fixture
def exported(toy):
    return fieldlevel.as_sbi(toy(joint=True))


@pytest.fixture
def maps(toy_maps):
    return torch.from_numpy(toy_maps(UNIT))


def test_samples_have_the_shapes_of_sbi(exported, maps):
    assert exported.sample((7,), x=maps[0]).shape == (7, 2)
    assert exported.sample((3, 4), x=maps[:1], show_progress_bars=False).shape == (3, 4, 2)
    assert exported.sample(x=maps[0].numpy()).shape == (2,)
    assert exported.sample_batched((7,), x=maps).shape == (7, 3, 2)
    assert exported.sample((0,), x=maps[0]).shape == (0, 2)
    assert exported.sample((7,), x=maps[0]).dtype == torch.float32


def test_samples_are_those_of_the_posterior_inside_the_prior(exported, toy, toy_maps, maps):
    known = toy(joint=True).posterior(toy_maps(UNIT))
    samples = exported.sample_batched((20_000,), x=maps)
    np.testing.assert_allclose(samples.mean(0), known.mean, atol=0.03 * known.std.max())
    np.testing.assert_allclose(samples.std(0), known.std, rtol=0.03)
    assert torch.isfinite(exported.prior.log_prob(samples)).all()


def test_random_numbers_follow_those_of_torch(exported, maps):
    torch.manual_seed(3)
    one, other = (exported.sample((5,), x=maps[0]) for _ in range(2))
    torch.manual_seed(3)
    assert torch.equal(exported.sample((5,), x=maps[0]), one)
    assert not torch.equal(one, other)


def test_densities_are_those_of_the_posterior(exported, toy, toy_maps, maps):
    known = toy(joint=True).posterior(toy_maps(UNIT))
    theta = torch.from_numpy(known.sample(4)).float()
    expected = known.log_prob(theta)
    np.testing.assert_allclose(exported.log_prob(theta[:, 1], x=maps[1]), expected[:, 1], rtol=1e-5)
    np.testing.assert_allclose(exported.potential(theta[0, 1].numpy(), maps[1].numpy()), expected[:1, 1], rtol=1e-5)
    np.testing.assert_allclose(exported.log_prob_batched(theta, x=maps), expected, rtol=1e-5)


def test_a_default_map(exported, maps):
    with pytest.raises(UserError, match="no map x"):
        exported.sample((3,))
    assert exported.set_default_x(maps[0]) is exported
    torch.testing.assert_close(exported.default_x, maps[:1])
    exported.default_x = maps[1]
    torch.testing.assert_close(exported.default_x, maps[1:2])
    exported.set_default_x(maps[0])
    theta = exported.sample((3,))
    torch.testing.assert_close(exported.log_prob(theta), exported.log_prob(theta, x=maps[0]))
    with pytest.raises(UserError, match="x holds 3 maps; give one, or sample_batched"):
        exported.sample((3,), x=maps)


def test_the_prior_is_that_of_the_layout(exported):
    samples = exported.prior.sample((1000,))
    assert samples.shape == (1000, 2)
    np.testing.assert_allclose(samples.amin(0), [0.1, 0.6], atol=0.01)
    assert exported.prior.log_prob(samples[:1]).item() == pytest.approx(-2 * np.log(0.4), abs=1e-5)


class DirectPosterior:
    """What matters of sbi's: its state is all that it has, and its methods ask for an estimator."""

    def map(self):
        return self.posterior_estimator

    leakage_correction = to = map

    def __getstate__(self):
        return vars(self)

    def __setstate__(self, state):
        self.__dict__ = state


@pytest.fixture(params=["without sbi", "beside a class like sbi's", "with sbi"])
def direct_posterior(request, monkeypatch):
    """The class that exported posteriors are of, if any."""
    if request.param == "with sbi":
        return pytest.importorskip("sbi.inference.posteriors").DirectPosterior
    found = None if request.param == "without sbi" else SimpleNamespace(DirectPosterior=DirectPosterior)
    monkeypatch.setattr(sbi_export, "known", lambda module: found if module == "sbi.inference.posteriors" else None)
    return object if found is None else DirectPosterior


def pickled_and_read(exported):
    return pickle.loads(pickle.dumps(exported))  # noqa: S301 (our own bytes)


def saved_and_loaded(exported):
    file = io.BytesIO()
    torch.save(exported, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("give", [pickled_and_read, saved_and_loaded, copy.deepcopy])
@pytest.mark.parametrize("n_members", [0, 2])
def test_a_copy_is_the_same_posterior(direct_posterior, give, n_members):
    predictor = fieldlevel.load("MockTNG", "cpu")
    exported = fieldlevel.as_sbi(fieldlevel.Ensemble.of(n_members * [predictor]) if n_members else predictor)
    exported.set_default_x(np.load(EXAMPLES / "MockTNG.npy")[0])
    exported.max_sampling_batch_size = 7
    theta = exported.sample((3,))
    again = give(exported)
    assert isinstance(again, direct_posterior) and type(again) is type(exported)
    torch.testing.assert_close(again.log_prob(theta), exported.log_prob(theta), rtol=0, atol=0)
    assert again.max_sampling_batch_size == 7
    torch.testing.assert_close(again.prior.log_prob(theta), exported.prior.log_prob(theta))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("map", r"take the means of predictor\.posterior\(x\)"),
        ("leakage_correction", "take log_prob, which is normalised"),
        ("to", r"choose where the network runs with fieldlevel\.load"),
    ],
)
def test_methods_of_sbi_that_need_its_density_estimator_say_what_to_take(direct_posterior, toy, name, words):
    with pytest.raises(NotImplementedError, match=f"^{name}: .*{words}"):
        getattr(fieldlevel.as_sbi(toy()), name)()


@pytest.mark.filterwarnings("ignore")
def test_no_public_method_of_sbi_is_inherited():
    posteriors = pytest.importorskip("sbi.inference.posteriors")
    public = {name for each in posteriors.DirectPosterior.__mro__[:-1] for name in vars(each) if name[0] != "_"}
    assert public <= set(vars(sbi_export.ExportedPosterior))


def test_only_networks_are_exported(toy):
    with pytest.raises(UserError, match=r"give what fieldlevel\.load returns"):
        fieldlevel.as_sbi("weights.safetensors")


@pytest.fixture
def simulated(toy, toy_maps):
    """300 universes whose maps are off by 0.05, correlated by 0.8, and a network that claims a part of that."""
    rng = np.random.default_rng(0)
    unit = rng.uniform(0.2, 0.8, (300, 2))
    noise = 0.05 * rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], 300)
    theta = torch.from_numpy(np.array([0.1, 0.6]) + 0.4 * unit).float()
    x = torch.from_numpy(toy_maps(unit + noise))
    return lambda claimed: (theta, x, fieldlevel.as_sbi(toy(joint=True, std=0.05 * claimed)))


@pytest.mark.filterwarnings("ignore")
def test_diagnostics_of_sbi_pass_it_and_catch_one_that_claims_too_much(simulated):
    diagnostics, sbc = pytest.importorskip("sbi.diagnostics"), pytest.importorskip("sbi.diagnostics.sbc")
    torch.manual_seed(0)
    options = {"num_posterior_samples": 300, "show_progress_bar": False}
    values = {}
    for claimed in (1.0, 0.4):
        theta, x, exported = simulated(claimed)
        ranks, _ = diagnostics.run_sbc(theta, x, exported, **options)
        densities, _ = diagnostics.run_sbc(theta, x, exported, reduce_fns=exported.log_prob, **options)
        p_values = [stats.kstest(column / 300, "uniform").pvalue for column in (*ranks.T, densities[:, 0])]
        values[claimed] = (
            min(p_values),
            abs(diagnostics.check_tarp(*diagnostics.run_tarp(theta, x, exported, **options))[0]),
        )
        assert torch.isfinite(sbc.get_nltp(theta[:3], x[:3], exported)).all()
    assert values[1.0][0] > 0.005
    assert values[0.4][0] < 1e-6
    assert values[1.0][1] < values[0.4][1] or values[1.0][1] < 0.1


@pytest.mark.filterwarnings("ignore")
def test_what_ltu_ili_asks_of_a_posterior_is_there(exported, maps):
    """Its `direct` sampling asks for the class, its `emcee` for prior and potential, both with x as NumPy arrays."""
    posteriors = pytest.importorskip("sbi.inference.posteriors")
    assert isinstance(exported, posteriors.DirectPosterior)
    x = torch.Tensor(maps[0].numpy()).to(exported._device)
    assert exported.sample((9,), x=x, show_progress_bars=True).detach().cpu().numpy().shape == (9, 2)
    start = exported.prior.sample().cpu().numpy()
    assert np.isfinite(np.array(exported.potential(start.astype(np.float32), maps[0].numpy()).cpu())).all()


def test_who_asks_for_a_density_estimator_of_sbi_is_told_how_to_draw(exported):
    """LtU-ILI's `vi` and slice samplers ask for it, its batched one whether it is there."""
    assert not hasattr(exported, "posterior_estimator")
    with pytest.raises(AttributeError, match=r"no density estimator of sbi; draw with sample.*'direct'.*'emcee'"):
        _ = exported.posterior_estimator


def farthest(line):
    """From the diagonal, of a curve."""
    return np.abs(np.subtract(*line.get_data())).max()


@pytest.mark.filterwarnings("ignore")
def test_diagnostics_of_ltu_ili_pass_it_and_catch_a_wrong_one(toy, toy_maps, tmp_path):
    """Truths are drawn from the posterior of each map; with the wrong correlation only TARP can see it."""
    validation, plt = pytest.importorskip("ili.validation"), pytest.importorskip("matplotlib.pyplot")
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 (theirs are the global ones)
    rng = np.random.default_rng(1)
    maps = toy_maps(rng.uniform(0.25, 0.75, (300, 2)))
    theta = toy(joint=True).posterior(maps).sample(1, seed=1)[0]
    plots = ["coverage", "histogram", "predictions", "tarp"]
    options = {"num_samples": 300, "sample_method": "direct", "labels": ["Omega_m", "sigma_8"], "out_dir": tmp_path}
    covered, tarp = {}, {}
    for name, head in {"true": {}, "narrow": {"std": 0.02}, "tilted": {"correlation": -0.8}}.items():
        exported = fieldlevel.as_sbi(toy(joint=True, **head))
        figures = validation.PosteriorCoverage(plot_list=plots, **options)(exported, maps, theta)
        covered[name] = [farthest(axis.lines[1]) for axis in figures[0].axes]
        tarp[name] = farthest(figures[3].axes[0].lines[1])
        plt.close("all")
    assert max(covered["true"] + covered["tilted"]) < 0.1 < min(covered["narrow"])
    assert tarp["true"] < 0.04 < min(tarp["narrow"], tarp["tilted"])
    assert len(list(tmp_path.iterdir())) == len(plots)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("method", "chains", "n_samples"),
    [("direct", {}, 2000), ("emcee", {"num_chains": 20, "thin": 3, "burn_in": 40}, 1600)],
)
def test_samples_of_ltu_ili_are_those_of_the_posterior(method, chains, n_samples, exported, toy, toy_maps, maps):
    validation, plt = pytest.importorskip("ili.validation"), pytest.importorskip("matplotlib.pyplot")
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (theirs are the global ones)
    known = toy(joint=True).posterior(toy_maps(UNIT[1:2]))
    options = {"sample_method": method, "sample_params": chains, "labels": ["Omega_m", "sigma_8"]}
    samples = validation.PosteriorSamples(num_samples=n_samples, **options)(exported, maps[1:2].numpy())
    assert samples.shape == (n_samples, 1, 2)
    np.testing.assert_allclose(samples.mean(0), known.mean, atol=0.25 * known.std.min())
    np.testing.assert_allclose(samples.std(0), known.std, rtol=0.2)
    assert np.corrcoef(samples[:, 0].T)[0, 1] == pytest.approx(0.8, abs=0.1)
    plot = validation.PlotSinglePosterior(num_samples=200, **options)
    grid = plot(exported, x_obs=maps[1].numpy(), theta_fid=known.mean[0])
    assert [axis.lines[-1].get_xdata()[0] for axis in grid.axes[1]] == pytest.approx(known.mean[0])
    plt.close("all")


@pytest.mark.filterwarnings("ignore")
def test_features_embed_maps_for_sbi(simulated, toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where sbi writes its logs
    inference, neural_nets = pytest.importorskip("sbi.inference"), pytest.importorskip("sbi.neural_nets")
    torch.manual_seed(0)
    theta, x, exported = simulated(1.0)
    builder = neural_nets.posterior_nn("mdn", embedding_net=toy().embedding, z_score_x="none", hidden_features=8)
    trainer = inference.NPE(exported.prior, density_estimator=builder, show_progress_bars=False)
    trainer.append_simulations(theta, x).train(max_num_epochs=3)
    assert trainer.build_posterior().sample((5,), x=x[:1], show_progress_bars=False).shape == (5, 2)
