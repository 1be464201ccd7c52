"""A weights file of several sources that says what cannot be is refused, also with a checksum that fits."""

import json

import pytest
from toy import TOY_TRAIN

from fieldlevel.cli import main
from fieldlevel.errors import UserError
from fieldlevel.training.weights_file import content_of, read_parts, read_weights_file

TOML = """
body = "my_networks:Pooled"
[[sources]]
suite = "MockTNG"
[[sources]]
suite = "MockSIMBA"
[[sources]]
suite = "MockQuiet"
labelled = false
"""


@pytest.fixture
def pooled(write_suite, place):
    """A weights file of two labelled sources and one without labels."""
    for seed, suite in enumerate(("MockTNG", "MockSIMBA", "MockQuiet")):
        write_suite(suite, seed=seed)
    (place / "pooled.toml").write_text(TOML)
    assert main(["train", "--data", "cmd", "--out", "out", "--config", "pooled.toml", *TOY_TRAIN]) == 0
    return place / "out" / "weights.safetensors"


def test_what_cannot_be_is_refused(pooled):
    metadata, state = read_parts(pooled)
    own_state = {name: value.clone() for name, value in state.items()}
    assert len(read_weights_file(pooled).sources) == 3
    sources = json.loads(metadata["sources"])

    def refused(change, words):
        tampered = pooled.with_name("tampered.safetensors")
        tampered.write_bytes(content_of(own_state, metadata | change))
        with pytest.raises(UserError, match=f"damaged weights file .*{words}"):
            read_weights_file(tampered)

    def told(number, **changes):
        each = [source | changes if place == number else source for place, source in enumerate(sources)]
        return {"sources": json.dumps(each)}

    second, third = sources[1:]
    refused({"sources": json.dumps(sources[:2])}, "sources: not those of its spec")
    refused(told(2, labelled=True), "sources: not those of its spec")
    refused(told(1, training=[100, 101]), "seen: 8 simulations, not 4")
    refused(told(1, training=second["training"][:1] * 6), "one stands there twice")
    refused(told(1, training=second["validation"] + second["training"][2:]), "one stands there twice")
    refused(
        told(2, training=third["training"][:-1], validation=third["training"][-1:]), "those of a source without labels"
    )
    refused(told(1, initial_conditions="two\nlines"), "sources: text 'two.*nlines'")

    def renamed(text):
        return metadata[text].replace("A_SN1[MockTNG]", "A_SN1[MockQuiet]")

    refused(
        {"layout": renamed("layout"), "labels": renamed("labels")}, r"A_SN1\[MockQuiet\] is of no suite with labels"
    )
    spec = json.loads(metadata["spec"])
    alone = {"spec": json.dumps({name: value for name, value in spec.items() if name != "sources"})}
    del metadata["sources"]
    refused(alone, r"A_SN1\[MockSIMBA\] is of no suite with labels")
