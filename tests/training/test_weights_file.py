"""What is refused of a weights file before a network is made of it: a changed bit, and what no training writes."""

import json
import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fieldlevel.data.normalise import Normaliser, SummaryNormaliser
from fieldlevel.data.seen import SeenMaps, SeenSource
from fieldlevel.errors import UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.estimators.bodies.perceptron import MomentPerceptron
from fieldlevel.inference import packaged as trained
from fieldlevel.inference.predictor import load
from fieldlevel.inference.shrink import shrink_weights
from fieldlevel.layout import CAMELS_PARAMETERS, Layout, Parameter
from fieldlevel.suites import layout_of
from fieldlevel.training.source_spec import SourceSpec
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.weights_file import content_of, read_parts, save_network

MINIMA, MAXIMA = Layout().lows, Layout().highs
FIRST = "features.C01.weight"
SEEN = SeenMaps(3 * ((0.3, 0.8, 1.0, 1.0, 1.0, 1.0),), ("0123456789ab", "", "ba9876543210"))


def save(path: Path, network, spec=TrainSpec(), normaliser=Normaliser(11.0, 0.5), seen=SEEN) -> Path:  # noqa: B008
    save_network(
        path,
        network,
        spec,
        normaliser,
        training_simulations=np.array([5, 2]),
        validation_simulations=np.array([7]),
        provenance={"data_fingerprint": "abc", "validation_loss": np.float32(-1.0)},
        seen=seen,
    )
    return path


@pytest.fixture
def weights(tmp_path) -> Path:
    torch.manual_seed(0)
    return save(tmp_path / "weights.safetensors", MomentNetwork(16, 1, dropout=0.0))


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata()


def rewrite(path: Path, change=None, tensors=None, without=("checksum",)) -> Path:
    """The same file with other metadata or tensors, and no checksum, as one from before there was any."""
    metadata = {key: value for key, value in (metadata_of(path) | (change or {})).items() if key not in without}
    save_file(load_file(path) | (tensors or {}), path, metadata)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as refused:
        load(path, "cpu")
    message = str(refused.value)
    assert message.startswith(str(path).replace("\0", "\\x00"))
    assert "\n" not in message
    assert len(message) < 600 + 2 * len(str(path))
    return message


def test_a_file_is_the_same_to_the_bit_for_the_same_network(weights, tmp_path):
    again = save(tmp_path / "again.safetensors", load(weights, "cpu").network)
    assert again.read_bytes() == weights.read_bytes()
    assert len(metadata_of(weights)["checksum"]) == 32


def test_a_file_keeps_what_was_seen(weights):
    assert load(weights, "cpu").seen == SEEN
    assert load(rewrite(weights, without=("checksum", "seen")), "cpu").seen is None


def test_files_without_a_checksum_load(weights):
    before = load(weights, "cpu").network.state_dict()
    after = load(rewrite(weights), "cpu").network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_every_changed_bit_is_noticed(weights):
    content, rng = weights.read_bytes(), random.Random(0)
    end = 8 + int.from_bytes(content[:8], "little")
    places = [*range(8), *rng.sample(range(8, end), 120), *rng.sample(range(end, len(content)), 60)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        weights.write_bytes(changed)
        refusal(weights)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 100, -1, -100])
def test_a_file_that_was_cut_short_is_refused(weights, length):
    weights.write_bytes(weights.read_bytes()[:length])
    assert "not a weights file" in refusal(weights)


def test_digests_are_packed_and_those_of_earlier_files_are_read_and_packed_when_shrunk(weights, tmp_path):
    packed = json.loads(metadata_of(weights)["seen"])
    assert packed["maps"] == ["=ASNFZ4mr", "=", "=uph2VDIQ"]
    shrunk = shrink_weights(weights, tmp_path / "small.safetensors")
    old = rewrite(shrunk, {"seen": json.dumps(packed | {"maps": list(SEEN.maps)})})
    assert load(old, "cpu").seen == SEEN
    again = shrink_weights(old, tmp_path / "again.safetensors")
    assert metadata_of(again)["seen"] == metadata_of(weights)["seen"]
    assert load(again, "cpu").seen == SEEN


def test_a_shrunk_file_has_a_checksum_of_its_own(weights, tmp_path):
    small = shrink_weights(weights, tmp_path / "small.safetensors")
    content = bytearray(small.read_bytes())
    content[-5] ^= 1
    small.write_bytes(content)
    assert "its checksum is another" in refusal(small)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lambda w: w * np.nan, "not finite"),
        (lambda w: w / 0, "not finite"),
        (lambda w: w.double() * 1e300, "not finite"),
        (lambda w: w.int(), "torch.int32"),
        (lambda w: w > 0, "torch.bool"),
        (lambda w: w.to(torch.complex64), "torch.complex64"),
        (lambda w: w.to(torch.float8_e4m3fn), "float8"),
        (lambda w: w[:1], "has shape (1, 1, 3, 3), not (2, 1, 3, 3)"),
        (lambda w: w[0], "has shape (1, 3, 3)"),
    ],
)
def test_weights_that_no_network_has_are_refused(weights, value, words):
    message = refusal(rewrite(weights, tensors={FIRST: value(load_file(weights)[FIRST])}))
    assert "damaged weights file (features.C01.weight" in message
    assert words in message


def test_variances_below_zero_are_refused(weights):
    name = "features.B02.running_var"
    assert f"{name} has variances below zero" in refusal(rewrite(weights, tensors={name: -torch.ones(2)}))


def test_tensors_that_are_missing_or_too_many_are_refused(weights):
    tensors = load_file(weights)
    assert "unknown tensor more" in refusal(rewrite(weights, tensors={"more": torch.ones(3)}))
    save_file({name: value for name, value in tensors.items() if name != FIRST}, weights, metadata_of(weights))
    assert f"no tensor {FIRST}" in refusal(rewrite(weights))


HOSTILE = {
    "deep": "[" * 100_000,
    "deep object": '{"a":' * 50_000,
    "large": str(10**30),
    "larger": "9" * 5000,
    "text": '"x"',
    "null": "null",
    "not JSON": "?",
    "empty": "",
    "other keys": '{"a": 1}',
}
OWN = Layout((*CAMELS_PARAMETERS[:2], Parameter("M_WDM", low=1.0, high=10.0)), 50.0, 10.0, initial_conditions="mine")
OF_TWO = (
    SeenSource("MockTNG", "LH", True, "mine", (5, 2), (7,), replace(SEEN, names=tuple("ABCDEF"))),
    SeenSource("Mine", "SB1", False, "yours", (5, 2, 9), (), SEEN),
)
SPEC_OF_TWO = TrainSpec(sources=(SourceSpec("MockTNG"), SourceSpec("Mine", "SB1", labelled=False)))


@pytest.fixture
def weights_of_two(tmp_path) -> Path:
    """Of a network of three outputs on two sources."""
    torch.manual_seed(0)
    network, path = MomentNetwork(16, 1, 0.0, n_parameters=3), tmp_path / "weights.safetensors"
    save_network(path, network, SPEC_OF_TWO, Normaliser(11.0, 0.5), layout=OWN, sources=OF_TWO, provenance={})
    return path


def test_a_file_keeps_its_layout_and_its_sources(weights_of_two):
    predictor = load(weights_of_two, "cpu")
    assert replace(predictor.layout, n_pixels=0) == OWN
    assert predictor.sources == OF_TWO
    assert predictor.training_simulations.tolist() == [5, 2]
    assert predictor.seen == OF_TWO[0].seen
    assert load(rewrite(weights_of_two), "cpu").sources == OF_TWO


def test_the_known_layout_is_not_written(weights):
    assert not {"layout", "sources"} & metadata_of(weights).keys()
    predictor = load(weights, "cpu")
    assert predictor.layout == replace(layout_of("MockTNG"), n_pixels=16)
    assert [source.numbers for source in predictor.sources] == [(5, 2, 7)]


@pytest.mark.parametrize("entry", ["layout", "sources", "training_simulations", "validation_simulations"])
def test_entries_of_several_sources_that_are_no_record_are_refused(weights_of_two, entry):
    content = weights_of_two.read_bytes()
    for text in (*HOSTILE.values(), "[]", "{}", "[[]]", "[{}]"):
        weights_of_two.write_bytes(content)
        assert "damaged weights file" in refusal(rewrite(weights_of_two, {entry: text}))


def changed(text, path, value):
    """JSON with another value at a path of keys and numbers."""
    document = json.loads(text)
    *to, last = path
    inside = document
    for key in to:
        inside = inside[key]
    inside[last] = value
    return json.dumps(document)


CONTRADICTIONS = {
    "parameter": ("layout", ("parameters", 0, "name"), "Omega_b"),
    "prior": ("layout", ("parameters", 2, "high"), 11.0),
    "no prior": ("layout", ("parameters", 2, "high"), 0.0),
    "no name": ("layout", ("parameters", 0, "name"), "=cmd"),
    "twice": ("layout", ("parameters", 1, "name"), "Omega_m"),
    "box": ("layout", ("box_size_mpc_h",), -1.0),
    "box of no number": ("layout", ("box_size_mpc_h",), float("nan")),
    "slabs": ("layout", ("n_slabs",), 10**9),
    "setting": ("layout", ("more",), 1),
    "symbol": ("layout", ("parameters", 0, "symbol"), "x" * 201),
    "symbol of lines": ("layout", ("parameters", 0, "symbol"), "x\ny"),
    "unit": ("layout", ("units", 0, 1), "\x1b[2J"),
    "fiducial": ("layout", ("parameters", 0, "fiducial"), float("inf")),
    "initial conditions": ("layout", ("initial_conditions",), "others"),
    "suite": ("sources", (1, "suite"), "Yours"),
    "set": ("sources", (1, "set_name"), "LH"),
    "labels": ("sources", (1, "labelled"), True),
    "first": ("sources", (0, "training"), [5, 3]),
    "number": ("sources", (1, "training", 0), -1),
    "large number": ("sources", (1, "training", 0), 2**31),
    "no whole number": ("sources", (1, "training", 0), 0.5),
    "more than seen": ("sources", (1, "training"), [5, 2, 9, 10]),
    "names": ("sources", (0, "seen", "names"), ["A"]),
    "equal names": ("sources", (0, "seen", "names"), 6 * ["A"]),
    "no names": ("sources", (0, "seen", "names"), ["<b>", *"BCDEF"]),
    "digests": ("sources", (1, "seen", "maps", 0), "x"),
    "key": ("sources", (0, "more"), 1),
    "spec": ("spec", ("sources", 1, "suite"), "../x"),
    "spec of others": ("spec", ("sources", 1, "labelled"), True),
    "spec of a share": ("spec", ("sources", 1, "share"), -1.0),
    "spec of another first": ("spec", ("sources", 0, "suite"), "MockSIMBA"),
    "outputs": ("spec", ("outputs",), ["Omega_m"]),
    "mark": ("mock", (), "false"),
}


@pytest.mark.parametrize(("entry", "path", "value"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_layouts_and_sources_that_cannot_be_are_refused(weights_of_two, entry, path, value):
    text = changed(metadata_of(weights_of_two)[entry], path, value) if path else value
    assert "damaged weights file" in refusal(rewrite(weights_of_two, {entry: text}))


def test_a_file_of_several_sources_without_the_record_of_the_second_is_refused(weights_of_two):
    assert "sources: not those of its spec" in refusal(rewrite(weights_of_two, without=("checksum", "sources")))


def test_a_network_that_has_seen_mock_maps_without_labels_is_marked(tmp_path):
    spec = TrainSpec(suite="SIMBA", sources=(SourceSpec("SIMBA"), SourceSpec("MockTNG", labelled=False)))
    sources = tuple(
        SeenSource(each.suite, "LH", each.labelled, f"{each.suite} LH", (1,), (), None) for each in spec.sources
    )
    network, path = MomentNetwork(16, 1, 0.0), tmp_path / "w.safetensors"
    layout = layout_of("SIMBA")
    save_network(path, network, spec, Normaliser(11.0, 0.5), layout=layout, sources=sources, provenance={})
    assert load(path, "cpu").is_mock
    assert metadata_of(path)["mock"] == "true"
    fingerprint = json.loads(metadata_of(trained.FOLDER / "MockTNG.safetensors")["provenance"])["data_fingerprint"]
    provenance = json.dumps({"source_fingerprints": [fingerprint, "abc"]})
    assert "claims suite SIMBA" in refusal(rewrite(path, {"provenance": provenance}))


ENTRIES = ["spec", "network", "normaliser", "training_simulations", "validation_simulations", "seen"]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("entry", ENTRIES)
def test_metadata_that_are_no_record_are_refused(weights, entry, text):
    assert "damaged weights file" in refusal(rewrite(weights, {entry: text}))


@pytest.mark.parametrize("text", [text for name, text in HOSTILE.items() if name != "other keys"])
def test_a_provenance_that_is_no_record_is_refused(weights, text):
    assert "damaged weights file (provenance" in refusal(rewrite(weights, {"provenance": text}))


@pytest.mark.parametrize("text", ["[-1]", "[1.5]", '["a"]', f"[{10**30}]", "[[1]]", "[null]"])
def test_numbers_of_simulations_are_whole_and_not_negative(weights, text):
    assert "damaged weights file (simulations" in refusal(rewrite(weights, {"training_simulations": text}))


@pytest.mark.parametrize(
    ("size", "value"),
    [
        *(("n_pixels", value) for value in (-16, 0, 17, 32, 2**30, 2**62, 10**30, "x", 16.0, True, None, [16])),
        *(("hidden", value) for value in (-1, 0, 2, 10**6, 10**9, 10**30, "1", 1.0, True)),
        *(("n_channels", value) for value in (2, -1, 10**12)),
        *(("n_parameters", value) for value in (5, 7, 0, 10**9)),
        *(("dropout", value) for value in (1.0, -1, float("nan"), "0.5", 10**400)),
        *(("std_from", value) for value in ("x", 1, None, [], {})),
        ("more", 1),
    ],
)
def test_sizes_that_are_not_those_of_the_tensors_are_refused(weights, size, value):
    sizes = json.loads(metadata_of(weights)["network"]) | {size: value}
    assert "damaged weights file" in refusal(rewrite(weights, {"network": json.dumps(sizes)}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("mean", value) for value in (float("nan"), float("inf"), 1e300, "x", None, [11.0])),
        *(("std", value) for value in (0, -0.5, float("nan"), float("inf"), "x", [0.5])),
        *(("offset", value) for value in (-1, float("nan"), float("inf"), "x")),
        ("more", 1),
    ],
)
def test_a_normaliser_that_no_maps_have_is_refused(weights, name, value):
    normaliser = json.loads(metadata_of(weights)["normaliser"]) | {name: value}
    assert "damaged weights file (normaliser" in refusal(rewrite(weights, {"normaliser": json.dumps(normaliser)}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_layers": 10**9}, "n_layers = 1000000000, but the file holds 4 tensors"),
        ({"n_neurons": 10**6}, "has shape"),
        ({"n_inputs": 6}, "has shape"),
    ],
)
def test_sizes_of_a_network_on_summaries_are_those_of_the_tensors(tmp_path, change, words):
    normaliser = SummaryNormaliser("power spectrum", 16, 7 * (1.0,), 7 * (2.0,))
    network = MomentPerceptron(7, 1, 4, 0.0)
    weights = save(tmp_path / "w.safetensors", network, TrainSpec(inputs="power spectrum"), normaliser)
    sizes = json.loads(metadata_of(weights)["network"]) | change
    assert words in refusal(rewrite(weights, {"network": json.dumps(sizes)}))


@pytest.mark.parametrize(
    "normaliser",
    [
        SummaryNormaliser("power spectrum", 16, 6 * (1.0,), 6 * (2.0,)),
        SummaryNormaliser("power spectrum", 16, 7 * (1.0,), 6 * (2.0,)),
        SummaryNormaliser("power spectrum", 16, 7 * (1.0,), (*6 * (2.0,), 0.0)),
        SummaryNormaliser("one-point PDF", 16, 7 * (1.0,), 7 * (2.0,)),
        SummaryNormaliser("no summary", 16, 7 * (1.0,), 7 * (2.0,)),
        SummaryNormaliser("power spectrum", -16, 7 * (1.0,), 7 * (2.0,)),
    ],
)
def test_a_normaliser_of_another_summary_is_refused(tmp_path, normaliser):
    spec, network = TrainSpec(inputs="power spectrum"), MomentPerceptron(7, 1, 4, 0.0)
    assert "damaged weights file (normaliser" in refusal(save(tmp_path / "w.safetensors", network, spec, normaliser))


def test_what_was_seen_is_as_much_as_what_was_trained_on(weights):
    seen = json.dumps({"parameters": [6 * [1.0]], "maps": [""]})
    assert "seen: 1 simulations, not 3" in refusal(rewrite(weights, {"seen": seen}))
    for maps in (["x"], ["0"], ["=0"], ["=ASNF"], ["=ASNFZ4m\n"], ["", ""], [1]):
        seen = json.dumps({"parameters": [6 * [1.0]], "maps": maps})
        assert "damaged weights file (seen" in refusal(rewrite(weights, {"seen": seen}))


@pytest.mark.parametrize("name", ["=cmd", "<b>TNG</b>", "../TNG", "-TNG", "", "TNG\n", "TNG,1", "@x", "a b", "a\0"])
@pytest.mark.parametrize("kind", ["suite", "field", "set_name"])
def test_names_are_nothing_but_names(weights, kind, name):
    metadata = metadata_of(weights)
    change = {"spec": json.dumps(json.loads(metadata["spec"]) | {kind: name})}
    change |= {"suite": name, "mock": "false"} if kind == "suite" else {}
    assert "must be letters and digits" in refusal(rewrite(weights, change))


def test_a_mock_network_does_not_lose_its_mark(weights):
    spec = json.dumps(json.loads(metadata_of(weights)["spec"]) | {"suite": "IllustrisTNG"})
    content = weights.read_bytes()
    for change in ({}, {"suite": "IllustrisTNG"}, {"mock": "false"}):
        weights.write_bytes(content)
        assert "its metadata say suite" in refusal(rewrite(weights, {"spec": spec} | change))


def test_a_network_of_the_package_is_known_under_another_name(tmp_path):
    source = trained.FOLDER / "MockTNG.safetensors"
    (tmp_path / "tng.safetensors").write_bytes(source.read_bytes())
    spec = json.dumps(json.loads(metadata_of(source)["spec"]) | {"suite": "IllustrisTNG"})
    disguised = {"spec": spec, "suite": "IllustrisTNG", "mock": "false"}
    assert "was trained on MockTNG (MOCK DATA)" in refusal(rewrite(tmp_path / "tng.safetensors", disguised))


def test_an_unknown_entry_may_be_the_checksum_with_a_changed_bit(weights):
    assert "unknown metadata 'chdcksum'" in refusal(rewrite(weights, {"chdcksum": "0"}))
    assert load(rewrite(weights, {"format": "pt"}, without=("checksum", "chdcksum")), "cpu").is_mock


HEADERS = [
    b'{"a":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}',
    b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,4]}}',
    b"[" * 100_000,
    b'{"__metadata__":{"format_version":1}}',
    b"null",
    b"\xff\xfe",
]


@pytest.mark.parametrize("header", HEADERS)
def test_headers_that_claim_what_is_not_there_are_refused(tmp_path, header):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert "not a weights file" in refusal(path)


def test_only_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    assert "pipe" in refusal(tmp_path / "pipe.safetensors")
    for name in ("loop", "gone", "x" * 300 + ".safetensors", "a\0.safetensors"):
        assert "not a weights file" in refusal(tmp_path / name)


@pytest.mark.parametrize("weights", [None, 3, b"MockTNG", ["MockTNG"]])
def test_weights_are_asked_for_by_name_or_path(weights):
    with pytest.raises(UserError, match="give the path or the name of a network"):
        load(weights)


@pytest.mark.parametrize("suite", ["Astrid", "Nbody_EAGLE"])
def test_targets_of_a_wider_prior_come_back_in_its_units(tmp_path, suite):
    network = MomentNetwork(16, 1, dropout=0.0).eval()
    path = save(tmp_path / "weights.safetensors", network, replace(TrainSpec(), suite=suite))
    maps = np.full((1, 16, 16), 1e11, np.float32)
    mean, std = load(path, "cpu").predict(maps)
    with torch.inference_mode():
        unit_mean, unit_std = (x.numpy().astype(float) for x in network(torch.zeros(1, 1, 16, 16)))
    assert mean[0, 5] == 0.25 + 3.75 * unit_mean[0, 5]
    assert std[0, 5] == 3.75 * unit_std[0, 5]
    assert mean[0, 4] == 0.5 + 1.5 * unit_mean[0, 4]
    earlier = content_of(*_with_default_labels(path))
    path.write_bytes(earlier)
    assert load(path, "cpu").predict(maps)[0][0, 5] == 0.5 + 1.5 * unit_mean[0, 5]


def _with_default_labels(path):
    metadata, state = read_parts(path)
    labels = json.loads(metadata["labels"]) | {"minima": MINIMA.tolist(), "maxima": MAXIMA.tolist()}
    return state, metadata | {"labels": json.dumps(labels)}
