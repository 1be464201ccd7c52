"""Error bars for other suites, on answers whose errors are known."""

import numpy as np
import pytest

from fieldlevel.inference.transfer_errors import Answers, TransferErrors, fit_tau
from fieldlevel.statistics.rescaling import Rescaling

NONE = Rescaling.none(2)


def answers(bias: float, n: int = 4000, seed: int = 0) -> Answers:
    rng = np.random.default_rng(seed)
    theta, std = rng.random((n, 2)), rng.uniform(0.01, 0.03, (n, 2))
    return Answers(theta, theta + std * rng.normal(size=(n, 2)) + [bias, 0.0], std, np.arange(n))


@pytest.mark.parametrize("bias", [0.01, 0.05, -0.2])
def test_tau_is_the_bias_that_is_not_claimed(bias):
    tau, none = fit_tau([answers(bias)], NONE)
    assert tau == pytest.approx(abs(bias), rel=0.1) and none < 0.006


def test_chi2_is_one_with_the_errors_that_were_measured():
    told = answers(0.05)
    errors = TransferErrors("other suites", ("A",), NONE, fit_tau([told], NONE))
    chi2 = np.square((told.theta - told.mean) / errors.std(told.mean, told.std)).mean(axis=0)
    assert chi2[0] == pytest.approx(1, abs=1e-6) and chi2[1] <= 1 + 1e-6


def test_squares_are_averaged_over_suites():
    tau, _ = fit_tau([answers(0.04), answers(0.0), answers(-0.08)], NONE)
    assert tau == pytest.approx(np.sqrt((0.04**2 + 0.08**2) / 3), rel=0.1)


def test_lambda_counts_before_tau():
    told = answers(0.0)
    wide = told._replace(std=told.std / 3)
    triple = Rescaling(2 * ((np.log(3), 0.0, 0.0, 0.0),), 2 * ((0.0, 1.0),))
    assert max(fit_tau([wide], triple)) < 0.006 < min(fit_tau([wide], NONE))


def test_parameters_that_no_suite_has_are_unknown():
    told = answers(0.05)
    told.theta[:, 1] = np.nan
    tau = fit_tau([told], NONE)
    assert tau[1] is None
    assert np.isnan(TransferErrors("twin", ("Nbody_A",), NONE, tau).std(told.mean, told.std)[:, 1]).all()
    assert fit_tau([told, answers(0.0)], NONE)[1] is not None


@pytest.mark.parametrize(("n", "words"), [(1, "1/2"), (3, "3/4")])
def test_what_is_guaranteed_is_said(n, words):
    errors = TransferErrors("leave one out", tuple("ABC"[:n]), NONE, (0.1, 0.1))
    assert f"at most {words}" in errors.guarantee and "leave-one-out among" in errors.guarantee


def test_gravity_only_maps_guarantee_nothing():
    assert "nothing is guaranteed" in TransferErrors("twin", ("Nbody_A",), NONE, (0.1, 0.1)).guarantee
    assert "at most 1/2" in TransferErrors("other suites", ("Nbody_A", "B"), NONE, (0.1, 0.1)).guarantee


@pytest.mark.parametrize("tau", [(0.1,), (-0.1, 0.1), (float("nan"), 0.1)])
def test_what_cannot_be_is_refused(tau):
    with pytest.raises(ValueError, match="transfer"):
        TransferErrors("twin", ("A",), NONE, tau)
