"""What maps a network takes, in which unit, and what it must not answer."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from fieldlevel.data.normalise import Normaliser, SummaryNormaliser
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.errors import UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.estimators.bodies.perceptron import MomentPerceptron
from fieldlevel.inference.predictor import Predictor
from fieldlevel.numerics.summaries import log_power_spectrum, log_quantiles
from fieldlevel.training.train_spec import TrainSpec

NOBODY = np.empty(0, dtype=np.int64)
BATCHES = 1e-5
"""Another batch lets the convolutions sum in another order."""


def predictor_of(network, normaliser=Normaliser(11.1, 0.48), spec=TrainSpec()):  # noqa: B008 (frozen)
    return Predictor(network.eval(), spec, normaliser, NOBODY, NOBODY, {})


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    network = MomentNetwork(16, 1, dropout=0.0)
    for _ in range(20):
        network(torch.randn(16, 1, 16, 16))
    return predictor_of(network)


@pytest.fixture(scope="module")
def maps():
    return np.random.default_rng(0).lognormal(25.5, 1.0, (12, 16, 16)).astype(np.float32)


TAKEN = {
    "tensor": torch.from_numpy,
    "tensor with gradient": lambda maps: torch.from_numpy(maps).requires_grad_(),
    "parameter": lambda maps: torch.nn.Parameter(torch.from_numpy(maps)),
    "list of maps": list,
    "tuple of tensors": lambda maps: tuple(torch.from_numpy(maps)),
    "list of both": lambda maps: [torch.from_numpy(maps[0]), *maps[1:]],
    "nested lists": np.ndarray.tolist,
    "one channel": lambda maps: maps[:, None],
    "tensor of one channel": lambda maps: torch.from_numpy(maps)[:, None],
    "Fortran order": np.asfortranarray,
    "big-endian": lambda maps: maps.astype(">f4"),
    "float64": lambda maps: maps.astype(float),
    "integers": lambda maps: maps.astype(np.int64),
    "reversed in memory": lambda maps: maps[::-1].copy()[::-1],
    "unmasked": lambda maps: np.ma.array(maps, mask=False),
    "read-only": lambda maps: np.frombuffer(maps.tobytes(), np.float32).reshape(maps.shape),
}


@pytest.mark.parametrize("give", TAKEN.values(), ids=TAKEN)
def test_maps_are_taken_in_any_shape_that_is_clear(predictor, maps, give):
    expected = predictor.predict(maps.astype(np.int64).astype(np.float32) if give is TAKEN["integers"] else maps)
    for one, other in zip(predictor.predict(give(maps)), expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("give", [np.asarray, torch.from_numpy, np.ndarray.tolist])
def test_one_map_has_one_answer(predictor, maps, give):
    mean, std = predictor.predict(give(maps[3]))
    assert mean.shape == std.shape == (1, 6)
    np.testing.assert_allclose(mean[0], predictor.predict(maps)[0][3], rtol=BATCHES, atol=BATCHES)


def test_given_maps_are_left_as_they_are(predictor, maps):
    tensor = torch.from_numpy(maps.copy())
    predictor.predict(tensor)
    np.testing.assert_array_equal(tensor.numpy(), maps)


def masked(maps):
    array = np.ma.array(maps, mask=False)
    array[1, 2, 3] = np.ma.masked
    return array


REFUSED = {
    "masked": (masked, "1 pixels are masked"),
    "list of masked": (lambda maps: list(masked(maps)), "1 pixels are masked"),
    "complex": (lambda maps: maps.astype(complex), "complex128, shape (12, 16, 16)"),
    "complex tensor": (lambda maps: torch.from_numpy(maps).to(torch.complex64), "complex64, shape (12, 16, 16)"),
    "objects": (lambda maps: maps.astype(object), "object, shape (12, 16, 16)"),
    "text": (lambda maps: maps.astype(str), "shape (12, 16, 16)"),
    "booleans": (lambda maps: maps > 0, "bool, shape (12, 16, 16)"),
    "boolean tensor": (lambda maps: torch.from_numpy(maps) > 0, "bool, shape (12, 16, 16)"),
    "dates": (lambda maps: maps.astype("M8[s]"), "datetime64"),
    "sparse": (lambda maps: torch.from_numpy(maps).to_sparse(), "dense"),
    "no numbers": (lambda maps: torch.from_numpy(maps).to("meta"), "dense"),
    "empty list": (lambda maps: [], "shape (0,)"),
    "none": (lambda maps: None, "type NoneType"),
    "a number": (lambda maps: 3.0, "type float"),
    "a path": (lambda maps: "maps.npy", "type str"),
    "a generator": (lambda maps: (each for each in maps), "type generator"),
    "ragged": (lambda maps: [maps[0], maps[1, :3]], "a list of 2"),
    "another size": (lambda maps: np.ones((2, 32, 32)), "shape (2, 32, 32): this network takes (n, 16, 16)"),
    "maps last": (lambda maps: np.moveaxis(maps, 0, -1), "shape (16, 16, 12): this"),
    "two channels": (lambda maps: np.stack([maps, maps], 1), "shape (12, 2, 16, 16): this"),
    "large numbers": (lambda maps: [[16 * [10**400]] * 16], "object"),
}


@pytest.mark.parametrize(("give", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_array_of_maps_is_refused_with_its_shape(predictor, maps, give, words):
    with pytest.raises(UserError) as refused:
        predictor.predict(give(maps))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("size", [-1, 0, 1.5, "x", None, True, float("inf"), [3]])
def test_blocks_hold_at_least_one_map(predictor, maps, size):
    with pytest.raises(UserError, match=r"batch_size = .* at least 1"):
        predictor.predict(maps, batch_size=size)


@pytest.mark.parametrize("size", [np.int64(5), 10**30, 2**31])
def test_blocks_are_as_large_as_wanted(predictor, maps, size):
    np.testing.assert_allclose(predictor.predict(maps, size)[0], predictor.predict(maps)[0], rtol=BATCHES, atol=BATCHES)


UNITS = {
    "log10": (
        np.log10,
        "mean log10 of the pixels is 1.04, of the training maps 11.10: these look like log10 of the maps",
    ),
    "natural logarithm": (np.log, "look like natural logarithms"),
    "overdensity": (lambda maps: maps / maps.mean(), "look like overdensities"),
    "Msun/kpc^2": (lambda maps: maps * 0.6711e-6, "look like Msun/kpc^2"),
    "Msun/pc^2": (lambda maps: maps * 0.6711e-12, "look like Msun/pc^2"),
    "10^10 Msun": (lambda maps: maps * 1e-10, "look like 10^10 (Msun/h)/(Mpc/h)^2"),
    "kg/m^2": (lambda maps: maps.astype(float) * 1.4e-15, "look like kg/m^2"),
    "g/cm^2": (lambda maps: maps.astype(float) * 1.4e-16, "look like g/cm^2"),
    "protons": (lambda maps: maps * 1e8, "look like protons/cm^2"),
    "unknown": (lambda maps: maps * 1e4, "look like another unit, with numbers some 10^4.0 those"),
}


@pytest.mark.parametrize(("convert", "words"), UNITS.values(), ids=UNITS)
def test_maps_in_another_unit_are_refused_with_both_levels_and_the_likely_unit(predictor, maps, convert, words):
    with pytest.raises(UserError) as refused:
        predictor.predict(convert(maps))
    for each in (words, ", of the training maps 11.10: these look like", "--anyway", "anyway=True"):
        assert each in str(refused.value)
    assert np.isfinite(predictor.predict(convert(maps), anyway=True)[0]).all()


@pytest.mark.parametrize(
    ("convert", "words"),
    [
        (lambda maps: maps / maps.mean() - 1, r"\(these look like overdensities\); give densities, neither"),
        (lambda maps: (np.log10(maps) - 11.1) / 0.48, "normalised maps"),
        (lambda maps: torch.from_numpy(maps).half(), "float16 ends at 65504"),
        (lambda maps: maps.astype(float) * 1e250, "infinite"),
        (lambda maps: maps * np.nan, "NaN"),
    ],
)
@pytest.mark.parametrize("anyway", [False, True])
def test_pixels_without_a_logarithm_are_refused_anyway(predictor, maps, convert, words, anyway):
    with pytest.raises(UserError, match=words):
        predictor.predict(convert(maps), anyway=anyway)


def test_one_map_among_others_is_named(predictor, maps):
    mixed = maps.copy()
    mixed[7] = np.log10(maps[7])
    with pytest.raises(UserError, match="maps 7: mean log10"):
        predictor.predict(mixed, batch_size=5)


@pytest.mark.parametrize("factor", [0.05, 0.3, 0.6711, 1 / 0.6711, 3.0, 20.0])
def test_every_matter_density_is_sound(predictor, maps, factor):
    """Slabs of Omega_m from 0.1 to 0.5 lie within a factor 6 of the mean, their flat maps within 16."""
    assert predictor.predict(maps * np.float32(factor))[0].shape == (12, 6)


TRANSFORMS = ["mean map", "shuffled pixels", "random phases", "no monopole"]


@pytest.mark.parametrize("transform", [TransformSpec("smoothing", 3.0), *map(TransformSpec, TRANSFORMS)])
def test_a_network_of_transformed_maps_compares_what_it_reads(maps, transform):
    """The level of a network of flat maps is that of flat maps, and raw maps are what it takes."""
    normaliser = Normaliser(11.55, 0.45 if transform.kind == "no monopole" else 0.2)
    predictor = predictor_of(MomentNetwork(16, 1, 0.0), normaliser, TrainSpec(transform=transform))
    assert predictor.predict(maps)[0].shape == (12, 6)
    with pytest.raises(UserError, match="look like log10"):
        predictor.predict(np.log10(maps))
    is_refused = transform.kind != "no monopole"  # which takes away every factor, as the training did
    with pytest.raises(UserError) if is_refused else nullcontext():
        predictor.predict(maps * 1e-6)
    told = "smoothed by 3 pixels" if transform.kind == "smoothing" else transform.kind
    assert told in " ".join(predictor.remarks)


def test_a_power_spectrum_knows_no_factor_but_logarithms(maps):
    spectra = log_power_spectrum(torch.from_numpy(maps)).double()
    normaliser = SummaryNormaliser("power spectrum", 16, tuple(spectra.mean(0).tolist()), 8 * (0.3,))
    predictor = predictor_of(MomentPerceptron(8, 1, 4, 0.0), normaliser, TrainSpec(inputs="power spectrum"))
    np.testing.assert_allclose(
        predictor.predict(maps / maps.mean())[0], predictor.predict(maps)[0], rtol=1e-4, atol=BATCHES
    )
    with pytest.raises(UserError, match="mean of the power spectrum"):
        predictor.predict(np.log10(maps))


def test_a_one_point_distribution_knows_the_unit(maps):
    quantiles = log_quantiles(torch.from_numpy(maps)).double()
    normaliser = SummaryNormaliser("one-point PDF", 16, tuple(quantiles.mean(0).tolist()), 64 * (0.1,))
    predictor = predictor_of(MomentPerceptron(64, 1, 4, 0.0), normaliser, TrainSpec(inputs="one-point PDF"))
    assert predictor.predict(maps / 10)[0].shape == (12, 6)
    for convert in (np.log10, lambda maps: maps / maps.mean(), lambda maps: maps * 1e-6):
        with pytest.raises(UserError, match="mean of the one-point PDF"):
            predictor.predict(convert(maps))


def test_summaries_of_another_length_are_refused(maps):
    normaliser = SummaryNormaliser("power spectrum", 16, 7 * (1.0,), 7 * (2.0,))
    predictor = predictor_of(MomentPerceptron(7, 1, 4, 0.0), normaliser, TrainSpec(inputs="power spectrum"))
    with pytest.raises(UserError, match="power spectrum of 8 numbers, not 7"):
        predictor.predict(maps)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_not_finite_are_refused(maps, value):
    network = MomentNetwork(16, 1, 0.0)
    network.head.FC2.bias.data[0] = value
    with pytest.raises(UserError, match=r"this network: its answers for maps 0, 1, .* not finite; damaged weights"):
        predictor_of(network).predict(maps)


def test_remarks_say_what_a_network_was_trained_on():
    network = MomentNetwork(16, 1, 0.0)
    assert predictor_of(network).remarks == ()
    assert "permuted labels" in predictor_of(network, spec=TrainSpec(labels="permuted")).remarks[0]
    for scale, told in ((1.0, "smoothed by 1 pixel,"), (2.0, "smoothed by 2 pixels,")):
        spec = TrainSpec(transform=TransformSpec("smoothing", scale))
        assert told in predictor_of(network, spec=spec).remarks[0]
    assert "gravity-only" in predictor_of(network, spec=TrainSpec(suite="Nbody_SIMBA")).remarks[0]


@pytest.mark.parametrize("give", [torch.from_numpy, np.asarray, np.ndarray.tolist])
def test_what_is_told_of_answers_takes_tensors_and_lists(predictor, maps, give):
    mean, std = predictor.predict(maps)
    np.testing.assert_array_equal(predictor.outside_prior(give(mean), give(std)), predictor.outside_prior(mean, std))
    np.testing.assert_array_equal(predictor.calibrated(give(mean), give(std)), std)
    unit = predictor.layout.to_unit_interval(give(mean))
    back, _ = predictor.layout.from_unit_interval(give(unit), give(std))
    np.testing.assert_allclose(back, mean, rtol=1e-12)


@pytest.mark.parametrize("box", [3, "box", np.int64(3), torch.tensor(3), [3]])
def test_the_simulation_of_one_map_may_be_a_number_alone(predictor, maps, box):
    assert predictor.posterior(maps[0], simulations=box).simulations.shape == (1,)


@pytest.mark.parametrize("give", [torch.from_numpy, np.asarray])
def test_an_embedding_takes_one_map_or_several_as_array_or_tensor(predictor, maps, give):
    several, one = predictor.embedding(give(maps)), predictor.embedding(give(maps[0]))
    assert several.shape == (12, predictor.network.n_features)
    torch.testing.assert_close(one, several[:1], rtol=BATCHES, atol=BATCHES)


def test_progress_is_shown_where_it_is_asked_for(predictor, maps, capsys):
    predictor.predict(maps, verbose=True)
    assert capsys.readouterr().err == "predict: 12/12 maps\n"
    predictor.posterior(maps)
    assert capsys.readouterr().err == ""
