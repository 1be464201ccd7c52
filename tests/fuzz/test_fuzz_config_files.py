"""TOML files given with --config."""

import dataclasses

from artefacts import FLAGS
from contract import cases
from hostile import HUGE, byte_damage, damaged_bytes
from hypothesis import strategies as st

from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.spec_io import overlay_toml
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.scales import laptop_scale
from fieldlevel.training.presets import modern_preset
from fieldlevel.training.train_spec import TrainSpec

SOUND = """field = "Mtot"
batch_size = 16
n_steps = 4
[optimiser]
learning_rate = 1e-2
[split]
train = 0.75
[network]
hidden = 1
"""
VALUES = [
    "1",
    "-1",
    "0",
    "1.5",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "true",
    '""',
    '"x"',
    '"MockTNG"',
    '"A\\nB"',
    '"\\u0000"',
    '"\\u001b[31m"',
    "[]",
    "[[]]",
    "[1, 2]",
    '["a"]',
    "{}",
    "{a = 1}",
    "1979-05-27",
    "07:32:00",
    "1979-05-27T07:32:00Z",
    HUGE,
    f"-{HUGE}",
    f"0x{'f' * 5000}",
    "0b1",
    "1_000",
    "[" * 90 + "]" * 90,
    "[" * 5000 + "]" * 5000,
    "{a=" * 300 + "1" + "}" * 300,
    '"""' + "x" * 5000 + '"""',
    "'''\n\n'''",
    "9223372036854775807",
    "9223372036854775808",
    "1e-320",
    "+1",
    "01",
    "1.",
    ".5",
    "None",
    "null",
    "'",
    '"',
    "\\",
    "",
    "1 2",
    '"\ud800"',
    "[1, 'a', 2.0]",
    "{a.b = 1}",
]
TEXTS = [
    "",
    "\n",
    "#",
    "=",
    "[",
    "]",
    "[]",
    "[[x]]",
    "[x",
    "x",
    "x =",
    "x = 1\nx = 2",
    "[network]\n[network]",
    "network = 1\n[network]",
    '"" = 1',
    "a.b.c = 1",
    "[a.b.c.d]",
    ".a = 1",
    "a..b = 1",
    "network.hidden.x = 1",
    "[network.hidden]",
    "[[network]]\nhidden = 1",
    "\ufeffn_steps = 1",
    "\0",
    "n_steps = 1\0",
    "a" * 100_000,
    "a." * 5000 + "b = 1",
    "[" + "a." * 5000 + "b]",
    "\r",
    "n_steps = 1\r",
    "é = 1",
    '"é" = 1',
    "set = 'LH'",
    "set_name = 'LH'",
    "__class__ = 1",
    "n-steps = 1",
    "split = {train = 0.5}",
    "split = {train = 0.5, }",
    "train = {}",
    "[train]",
    "[train]\nsuite = 'x'",
    "suites = ['a', 'b']",
    "only = ''",
    "{}",
    '{"n_steps": 4}',
    "<xml/>",
    "n_steps: 4",
    "k_max = [nan]",
    "smoothing = [-1.0]",
    "k_max = []",
    "seeds = 0",
    "n_trials = 0",
    "search = 'x'",
]


def _names(kind: type, prefix: str = "") -> list[str]:
    found = []
    for each in dataclasses.fields(kind):
        default = each.default if each.default is not dataclasses.MISSING else each.default_factory()
        found.append(prefix + each.name)
        if dataclasses.is_dataclass(default):
            found += _names(type(default), f"{prefix}{each.name}.")
    return found


PRESETS = {"train": modern_preset, "tune": lambda: TuneSpec(train=modern_preset()), "letter": laptop_scale}
KINDS = {"train": TrainSpec, "tune": TuneSpec, "letter": LetterSpec}
settings_of = {kind: _names(spec) for kind, spec in KINDS.items()}

lines = st.one_of(
    st.sampled_from(sorted(KINDS)).flatmap(
        lambda kind: st.tuples(
            st.just(kind), st.builds("{} = {}".format, st.sampled_from(settings_of[kind]), st.sampled_from(VALUES))
        )
    ),
    st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from(TEXTS)),
)
contents = st.one_of(
    lines.map(lambda line: (line[0], line[1].encode(errors="surrogatepass"))),
    lines.map(lambda line: (line[0], line[1].encode(errors="surrogatepass"))),
    st.tuples(st.just("train"), byte_damage.map(lambda damage: damaged_bytes(SOUND.encode(), damage))),
    st.tuples(st.just("train"), st.binary(max_size=30)),
)


FAILED = [
    f"train.seed = {HUGE}",
    f"train.seed = 0x{'f' * 5000}",
    f"summary.perceptron = {'[' * 5000}{']' * 5000}",
    f"[{'a.' * 5000}b]",
    f"{'a.' * 5000}b = 1",
]


@cases(
    24,
    500,
    content=contents,
    command=st.booleans(),
    seeds=[{"content": ("letter", line.encode()), "command": False} for line in FAILED],
)
def test_toml(bench, valid, content, command):
    kind, text = content
    with bench.case("TOML", (content, command)) as case:
        path = case.folder / "config.toml"
        path.write_bytes(text)
        if command:
            flags = FLAGS if kind != "letter" else ("--device", "cpu")
            names = ["config.toml", "=", ":"]
            case.command(
                kind, "--config", path, "--data", case.folder / "absent", "--out", case.out, *flags, names=names
            )
        else:
            case.library(lambda: overlay_toml(PRESETS[kind](), path), "config.toml")
