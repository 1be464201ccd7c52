"""What a posterior says: moments, samples, densities and intervals that agree with one another and with `predict`."""

import sys

import numpy as np
import pytest
import torch
from scipy import stats

from fieldlevel.errors import UserError
from fieldlevel.estimators.densities import TruncatedNormal
from fieldlevel.inference.posterior import Posterior
from fieldlevel.inference.trust.judging import Judging
from fieldlevel.layout import Layout

UNIT = [[0.5, 0.5], [0.3, 0.7], [0.02, 0.95], [0.6, 0.4]]
WIDTH = 0.4
"""Of both priors."""
NOISE = 0.03
"""Of moments of 20,000 samples, relative to the standard deviation: four errors."""


@pytest.fixture(params=[False, True], ids=["moments", "joint"])
def posterior(request, toy, toy_maps):
    return toy(joint=request.param).posterior(toy_maps(UNIT))


def test_it_is_what_the_network_predicts(toy, toy_maps, physical):
    predictor, maps = toy(), toy_maps(UNIT)
    found, (mean, std) = predictor.posterior(maps), predictor.predict(maps)
    np.testing.assert_array_equal(found.moments[0], mean)
    np.testing.assert_allclose(mean, physical(UNIT), atol=1e-6)
    inside = [0, 1, 3]
    np.testing.assert_allclose(found.mean[inside], mean[inside], atol=1e-6)
    np.testing.assert_allclose(found.std[inside], std[inside], rtol=1e-5)


def test_answers_that_no_posterior_has_are_moved_inside_and_told(toy, toy_maps, physical):
    found = toy().posterior(toy_maps([[1.3, 0.5]]))
    assert found.moments[0][0, 0] == pytest.approx(physical([1.3, 0.5])[0], abs=1e-6)
    assert 0.4 < found.mean[0, 0] < 0.5
    assert found.outside_prior.tolist() == [[True, False]]


def test_samples_have_its_moments_and_lie_in_the_prior(posterior):
    samples = posterior.sample(20_000, seed=3)
    assert samples.shape == (20_000, 4, 2)
    assert (samples >= [0.1, 0.6]).all()
    assert (samples <= [0.5, 1.0]).all()
    assert (np.abs(samples.mean(0) - posterior.mean) < NOISE * posterior.std).all()
    np.testing.assert_allclose(samples.std(0), posterior.std, rtol=NOISE)
    correlation = np.corrcoef(samples[:, 0].T)[0, 1]
    assert correlation == pytest.approx(0.8 if posterior.is_joint else 0.0, abs=NOISE)


def test_samples_follow_their_seed_alone(posterior):
    torch.manual_seed(1)
    one, untouched = posterior.sample(5, seed=1), torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), untouched)
    np.testing.assert_array_equal(one, posterior.sample(5, seed=1))
    assert not np.array_equal(one, posterior.sample(5, seed=2))


def test_densities_of_marginals_are_those_of_truncated_normals(toy, toy_maps, physical):
    found = toy(std=0.2).posterior(toy_maps([[0.4, 0.6]]))
    parent = found.density.parent
    a, b = ((edge - parent.location) / parent.scale for edge in (0.0, 1.0))
    frozen = stats.truncnorm(a.numpy(), b.numpy(), parent.location.numpy(), parent.scale.numpy())
    point = np.array([[0.3, 0.8]])
    expected = frozen.logpdf(point).sum() - 2 * np.log(WIDTH)
    assert found.log_prob(physical(point))[0] == pytest.approx(expected)
    low, high = found.interval(0.9)
    np.testing.assert_allclose(low, physical(frozen.ppf(0.05)))
    np.testing.assert_allclose(high, physical(frozen.ppf(0.95)))


def test_a_joint_density_far_from_the_edges_is_the_normal(toy, toy_maps, physical):
    found = toy(joint=True).posterior(toy_maps([[0.5, 0.5]]))
    covariance = (0.05 * WIDTH) ** 2 * np.array([[1, 0.8], [0.8, 1]])
    np.testing.assert_allclose(found.covariance[0], covariance, rtol=1e-4)
    normal = stats.multivariate_normal(physical([0.5, 0.5]), covariance)
    points = normal.rvs(50, random_state=0)
    np.testing.assert_allclose(found.log_prob(points[:, None])[:, 0], normal.logpdf(points), atol=1e-3)


def test_densities_add_up_to_one(posterior):
    """On the centres of cells: at a corner of the prior the density of a copula has no bound."""
    centres = (np.arange(400) + 0.5) / 400 * WIDTH
    grid = np.stack(np.meshgrid(0.1 + centres, 0.6 + centres, indexing="ij"), -1).reshape(-1, 1, 2)
    density = np.exp(posterior[2].log_prob(grid))
    assert density.sum() * (WIDTH / 400) ** 2 == pytest.approx(1, abs=5e-3)


def test_densities_of_one_point_and_of_several(posterior):
    points = posterior.sample(3)
    several = posterior.log_prob(points)
    assert several.shape == (3, 4)
    np.testing.assert_allclose(several[1], posterior.log_prob(points[1]))
    np.testing.assert_allclose(posterior.log_prob(points[0, 0])[0], several[0, 0])
    np.testing.assert_allclose(posterior.log_prob(torch.from_numpy(points[1])), several[1])


def test_the_edge_of_the_prior_is_inside_and_beyond_it_is_nothing(toy, toy_maps):
    found = toy(std=0.3).posterior(toy_maps([[0.5, 0.5]]))
    for edge in ([0.1, 0.6], [0.5, 1.0], np.array([0.1, 0.6], np.float32)):
        assert np.isfinite(found.log_prob(edge)).all()
    assert np.isneginf(found.log_prob([0.0999, 0.8]))
    assert np.isneginf(found.log_prob([0.3, 1.001]))


@pytest.mark.parametrize("level", [0.5, 0.68, 0.95])
def test_intervals_hold_their_level(posterior, level):
    low, high = posterior.interval(level)
    samples = posterior.sample(20_000)
    inside = ((samples > low) & (samples < high)).mean(0)
    np.testing.assert_allclose(inside, level, atol=0.015)
    np.testing.assert_allclose((samples < low).mean(0), (1 - level) / 2, atol=0.01)


def test_marginals_have_no_covariance_and_say_so(toy, toy_maps):
    found = toy().posterior(toy_maps(UNIT))
    with pytest.warns(UserWarning, match="marginals only"):
        assert found.covariance is None
    assert not found.is_joint
    assert "(marginals only)" in repr(found)


def test_some_of_the_maps(posterior):
    assert len(posterior) == 4
    assert [len(each) for each in posterior] == [1, 1, 1, 1]
    for index, rows in ((1, [1]), (-1, [3]), (slice(1, 3), [1, 2]), ([3, 0], [3, 0]), (np.arange(4) == 2, [2])):
        np.testing.assert_allclose(posterior[index].mean, posterior.mean[rows])
        np.testing.assert_array_equal(posterior[index].moments[0], posterior.moments[0][rows])
        np.testing.assert_allclose(posterior[index].quantile(0.2), posterior.quantile(0.2)[rows])
    with pytest.raises(IndexError):
        posterior[4]


def test_names_and_labels(posterior):
    assert posterior.names == ("Omega_m", "sigma_8")
    assert posterior.labels == (r"\Omega_{\rm m}", r"\sigma_8")
    assert repr(posterior[0]).startswith("<Posterior of 1 map: Omega_m, sigma_8 (")
    many = Posterior(TruncatedNormal(torch.full((2, 6), 0.5), torch.full((2, 6), 0.1)), Layout())
    assert repr(many).count(",") == 5


TAKEN = {
    "tensor": torch.from_numpy,
    "list": list,
    "one channel": lambda maps: maps[:, None],
    "float64": lambda maps: maps.astype(float),
}


@pytest.mark.parametrize("give", TAKEN.values(), ids=TAKEN)
def test_maps_are_taken_as_predict_takes_them(toy, toy_maps, give):
    maps, predictor = toy_maps(UNIT), toy(joint=True)
    np.testing.assert_allclose(predictor.posterior(give(maps)).mean, predictor.posterior(maps).mean, rtol=1e-6)
    assert predictor.posterior(maps[0]).mean.shape == (1, 2)


def test_memory_maps_are_read_in_blocks(toy, toy_maps, tmp_path):
    np.save(tmp_path / "maps.npy", toy_maps(UNIT))
    maps, heard = np.load(tmp_path / "maps.npy", mmap_mode="r"), []
    found = toy(joint=True).posterior(maps, 3, heard.append)
    np.testing.assert_allclose(found.covariance, toy(joint=True).posterior(maps).covariance, rtol=1e-5)
    assert [event.done for event in heard] == [3, 4]


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda each: each.sample(0), "n_samples = 0"),
        (lambda each: each.sample(2.5), "n_samples = 2.5"),
        (lambda each: each.sample(3, seed=-1), "seed = -1"),
        (lambda each: each.sample(3, seed="x"), "seed = x"),
        (lambda each: each.sample(3, seed=2**70), "seed = 1180591620717411303424"),
        (lambda each: each.sample(10**20), "n_samples = 100000000000000000000: at most"),
        (lambda each: each.interval(1.0), "level = 1.0"),
        (lambda each: each.interval(68), "level = 68"),
        (lambda each: each.quantile("x"), "p = x"),
        (lambda each: each.log_prob([0.3]), "theta of shape (1,) for 4 maps of 2 parameters"),
        (lambda each: each.log_prob(np.ones((3, 2))), "theta of shape (3, 2)"),
        (lambda each: each.log_prob("x"), "theta x"),
        (lambda each: each.sample(10**9), "1000000000 samples of 4 maps need at least"),
        (lambda each: each[1:1].combine(), "combine: there are no maps"),
        (lambda each: each.combine(["a", None, "b", "c"]), "combine: simulations: None is no number or name"),
        (lambda each: each.combine([1, 2, np.nan, 3]), "combine: simulations: nan is no number or name"),
        (lambda each: each.combine([[1], 2, [3, 4], 3]), "combine: simulations [[1], 2, [3, 4], 3] for 4 maps"),
    ],
)
def test_what_no_posterior_has_is_refused(posterior, ask, words):
    with pytest.raises(UserError) as refused:
        ask(posterior)
    assert words in str(refused.value)


def test_of_no_maps_there_is_nothing(posterior):
    none = posterior[1:1]
    assert none.log_prob(posterior.mean[0]).shape == (0,)
    assert none.log_prob(np.ones((3, 0, 2))).shape == (3, 0)
    assert none.mean.shape == none.std.shape == none.quantile(0.5).shape == (0, 2)
    assert none.sample(3).shape == (3, 0, 2)


def test_the_density_of_an_unknown_parameter_is_unknown(posterior):
    theta = posterior.mean.copy()
    expected = posterior.log_prob(theta)
    theta[1, 0] = np.nan
    theta[2, 1] = np.inf
    np.testing.assert_array_equal(posterior.log_prob(theta), [expected[0], np.nan, -np.inf, expected[3]])


@pytest.mark.parametrize("boxes", [["b", "a", "c", "d"], np.array(["b", "a", "c", "d"], object), [True, 7, 2.0, -1]])
def test_simulations_have_numbers_or_names(toy, toy_maps, boxes):
    found = toy().posterior(toy_maps(UNIT), simulations=boxes)
    assert found.simulations.shape == (4,)
    assert found.simulations.dtype != object


@pytest.mark.parametrize("boxes", [[None, 1, 2, 3], ["a", None, "b", "c"], [[1], 2, [3, 4], 3], [1, np.nan, 2, 3]])
def test_simulations_that_are_neither_are_refused(toy, toy_maps, boxes):
    with pytest.raises(UserError, match=r"^simulations.*give the number of the simulation of each map$"):
        toy().posterior(toy_maps(UNIT), simulations=boxes)


def test_no_maps_and_other_maps_are_refused(toy, toy_maps):
    with pytest.raises(UserError, match="there are none; give one or more"):
        toy().posterior(np.ones((0, 16, 16)))
    with pytest.raises(UserError, match="this network takes"):
        toy().posterior(np.ones((2, 8, 8)))
    with pytest.raises(UserError, match=r"look like log10.*anyway=True"):
        toy().posterior(np.log10(toy_maps(UNIT)))
    with pytest.raises(UserError, match=r"simulations of shape \(2,\) for 4 maps"):
        toy().posterior(toy_maps(UNIT), simulations=[1, 2])


@pytest.mark.parametrize("package", ["pandas", "getdist"])
def test_a_package_that_is_missing_is_named(posterior, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"{package} is not installed; pip install 'fieldlevel\[{package}\]'"):
        getattr(posterior, f"to_{package}")()


def test_a_table_of_pandas(posterior):
    pytest.importorskip("pandas")
    table = posterior.to_pandas()
    assert list(table.columns) == ["Omega_m_mean", "Omega_m_std", "sigma_8_mean", "sigma_8_std"]
    assert table.index.name == "map"
    np.testing.assert_array_equal(table["sigma_8_std"], posterior.std[:, 1])


@pytest.mark.filterwarnings("ignore")
def test_samples_for_getdist(posterior):
    pytest.importorskip("getdist")
    samples = posterior.to_getdist(1, n_samples=5000)
    assert samples.getParamNames().list() == ["Omega_m", "sigma_8"]
    np.testing.assert_allclose(samples.getMeans(), posterior.mean[1], atol=0.1 * posterior.std[1].max())
    assert samples.ranges.getUpper("sigma_8") == 1.0


def test_trust_comes_with_the_posterior_of_all_maps(toy, toy_maps, monkeypatch):
    asked = []
    monkeypatch.setattr(Judging, "add", lambda self, *given: asked.append(given))
    monkeypatch.setattr(Judging, "verdict", lambda self: "like the training's")
    found = toy().posterior(toy_maps(UNIT), simulations=[4, 4, 5, 6])
    assert found.trust == "like the training's"
    assert found[:2].trust is None
    ((maps, simulations, _),) = asked
    assert len(maps) == 4
    assert np.unique(simulations, return_inverse=True)[1].tolist() == [0, 0, 1, 2]
