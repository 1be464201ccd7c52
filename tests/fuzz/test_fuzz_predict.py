"""Maps given to `predict` and `infer`, and arrays given to the other functions of the package."""

from typing import Any

import numpy as np
import torch
from artefacts import N_PIXELS
from contract import cases, is_finite
from hypothesis import strategies as st

import fieldlevel
from fieldlevel.estimators.moments import moment_loss
from fieldlevel.inference.predictor import load

N = N_PIXELS


def maps(n: int = 3) -> np.ndarray:
    return np.random.default_rng(1).lognormal(25.5, 1.0, (n, N, N)).astype("f4")


def with_pixel(value: float, dtype: str = "f4") -> np.ndarray:
    array = maps().astype(dtype)
    array[1, 2, 3] = value
    return array


class Strange:
    shape = (3, N, N)
    ndim = 3

    def __len__(self) -> int:
        return 3


def objects() -> np.ndarray:
    array = np.empty((3, N, N), dtype=object)
    array[:] = 1e11
    return array


def _read_only() -> np.ndarray:
    array = maps()
    array.setflags(write=False)
    return array


INPUTS: dict[str, Any] = {
    "sound": maps,
    "one map": lambda: maps()[0],
    "list": lambda: maps().tolist(),
    "list of arrays": lambda: list(maps()),
    "tuple": lambda: tuple(maps()),
    "tensor": lambda: torch.from_numpy(maps()),
    "tensor of one": lambda: torch.from_numpy(maps()[0]),
    "tensor with a gradient": lambda: torch.from_numpy(maps()).requires_grad_(),
    "bfloat16": lambda: torch.from_numpy(maps()).bfloat16(),
    "half tensor": lambda: torch.ones(3, N, N, dtype=torch.float16),
    "meta": lambda: torch.empty(3, N, N, device="meta"),
    "sparse tensor": lambda: torch.from_numpy(maps()).to_sparse(),
    "complex tensor": lambda: torch.from_numpy(maps()).cfloat(),
    "channel": lambda: maps()[:, None],
    "channels last": lambda: maps()[..., None],
    "flat": lambda: maps().reshape(3, -1),
    "row": lambda: maps().reshape(-1),
    "scalar": lambda: np.float32(1),
    "int": lambda: 3,
    "none": lambda: None,
    "text": lambda: "maps.npy",
    "empty": lambda: maps()[:0],
    "empty list": list,
    "ragged": lambda: [[1.0], [1.0, 2.0]],
    "object": objects,
    "strings": lambda: maps().astype(str),
    "bool": lambda: maps() > 0,
    "complex": lambda: maps().astype("c8"),
    "datetime": lambda: np.zeros((3, N, N), "M8[s]"),
    "record": lambda: np.zeros((3, N, N), [("a", "f4")]),
    "int8": lambda: np.ones((3, N, N), "i1"),
    "uint64": lambda: np.full((3, N, N), 10**11, "u8"),
    "negative int": lambda: np.full((3, N, N), -5),
    "float16": lambda: torch.from_numpy(maps()).half().numpy(),
    "float64": lambda: maps().astype("f8"),
    "long double": lambda: maps().astype("longdouble"),
    "big endian": lambda: maps().astype(">f4"),
    "fortran": lambda: np.asfortranarray(maps()),
    "reversed": lambda: maps()[::-1, ::-1],
    "strided": lambda: maps(6)[::2],
    "broadcast": lambda: np.broadcast_to(maps()[0], (3, N, N)),
    "read-only": _read_only,
    "masked": lambda: np.ma.masked_less(maps(), 1e11),
    "masked, nothing": lambda: np.ma.array(maps()),
    "other size": lambda: np.ones((3, 2 * N, 2 * N), "f4") * 1e11,
    "not square": lambda: np.ones((3, N, N + 1), "f4"),
    "one pixel": lambda: np.ones((3, 1, 1), "f4"),
    "no pixels": lambda: np.ones((3, 0, 0), "f4"),
    "nan": lambda: with_pixel(np.nan),
    "inf": lambda: with_pixel(np.inf),
    "-inf": lambda: with_pixel(-np.inf),
    "zero": lambda: with_pixel(0),
    "negative": lambda: with_pixel(-1),
    "denormal": lambda: with_pixel(1e-45),
    "beyond float32": lambda: with_pixel(1e300, "f8"),
    "below float32": lambda: with_pixel(1e-300, "f8"),
    "huge": lambda: with_pixel(3e38),
    "all nan": lambda: maps() * np.nan,
    "all equal": lambda: np.full((3, N, N), 1e11, "f4"),
    "logarithms": lambda: np.log10(maps()),
    "overdensity": lambda: maps() / maps().mean(),
    "in kpc": lambda: maps() / 1e6,
    "times 1e10": lambda: maps() * 1e10,
    "all huge": lambda: np.full((3, N, N), 1e38, "f4"),
    "all tiny": lambda: np.full((3, N, N), 1e-38, "f4"),
    "dict": lambda: {"maps": maps()},
    "generator": lambda: (m for m in maps()),
    "strange": Strange,
    "bytes": lambda: maps().tobytes(),
    "memory view": lambda: memoryview(maps()),
    "set": lambda: {1.0},
    "nested none": lambda: [[[None]]],
    "list of tensors": lambda: [torch.from_numpy(m) for m in maps()],
}


BATCHES = [1, 2, 128, 0, -1, 10**30, 1.5, 2.0, None, "2", True, np.int64(2), np.nan, [], 2**63]
may_differ = {"logarithms", "overdensity", "in kpc", "times 1e10", "all huge", "all tiny", "zero", "negative"}


@cases(
    24, 300, name=st.sampled_from(sorted(INPUTS)), batch=st.sampled_from([128, 128, *BATCHES]), summary=st.booleans()
)
def test_predict(bench, valid, name, batch, summary):
    with bench.case("predict", (name, batch, summary)) as case:
        predictor = load(valid.perceptron if summary else valid.weights, "cpu")
        given = INPUTS[name]()
        n = len(maps()) if name not in ("one map", "tensor of one") else 1
        sensible = lambda found: is_finite(found) and found[0].shape == (n, 6) and bool((found[1] > 0).all())  # noqa: E731
        if name in ("empty", "empty list"):
            sensible = lambda found: found[0].shape == (0, 6)  # noqa: E731
        case.library(lambda: predictor.predict(given, batch), "maps", "map", "batch_size", sensible=sensible)


@cases(
    10,
    120,
    name=st.sampled_from(sorted(INPUTS)),
    device=st.sampled_from(["cpu", "cpu", "auto", "cuda", "cuda:9", "x", "", "mps", "cpu:7", "meta"]),
)
def test_infer(bench, valid, name, device):
    with bench.case("infer", (name, device)) as case:
        path = case.folder / "maps.npy"
        try:
            np.save(path, np.asarray(INPUTS[name]()), allow_pickle=True)
        except (TypeError, ValueError, RuntimeError, NotImplementedError):
            np.save(path, maps())
        out = case.out / "answer.csv"
        case.command(
            "infer", valid.weights, path, "--device", device, "--out", out, names=[path.name, "device", device or "''"]
        )


ARRAYS = {
    "floats": lambda: torch.rand(8, 6),
    "other": lambda: torch.rand(8, 12),
    "column": lambda: torch.rand(8, 1),
    "row": lambda: torch.rand(6),
    "matrix": lambda: torch.rand(8, 3),
    "empty": lambda: torch.rand(0, 6),
    "ints": lambda: torch.ones(8, 6, dtype=torch.int64),
    "nan": lambda: torch.full((8, 6), torch.nan),
    "cube": lambda: torch.rand(8, 6, 6),
    "short": lambda: torch.rand(7, 6),
    "half": lambda: torch.rand(8, 6).half(),
    "numpy": lambda: np.ones((8, 6)),
    "list": lambda: [[0.5] * 6] * 8,
    "none": lambda: None,
    "double": lambda: torch.rand(8, 6).double(),
    "one": lambda: torch.rand(1, 6),
}
three = st.tuples(*(st.one_of(st.just("floats"), st.sampled_from(sorted(ARRAYS))) for _ in range(3)))


@cases(12, 120, names=three, warm=st.sampled_from([False, False, True, None, "x"]))
def test_losses(bench, valid, names, warm):
    with bench.case("moment_loss", (names, warm)) as case:
        mean, std, theta = (ARRAYS[name]() for name in names)
        shapes = {tuple(np.shape(value)) if value is not None else None for value in (mean, std, theta)}
        sound = len(shapes) == 1 and "nan" not in names
        case.library(
            lambda: moment_loss(mean, std, theta),
            "shape",
            "mean",
            "std",
            "theta",
            "maps",
            sensible=lambda _: sound or "nan" in names,
        )


NUMBERS = [
    0,
    1,
    7,
    8,
    -1,
    10**30,
    1.5,
    2.0,
    np.nan,
    None,
    "1",
    [],
    [0],
    [0, 7],
    [0, 8],
    [-1],
    [1.5],
    [True, False],
    [[0, 1]],
    np.array([1.0]),
    np.arange(3, dtype="u1"),
    ["a"],
    [None],
    [10**30],
    slice(2),
    range(3),
    {1},
    torch.tensor([1]),
]


@cases(8, 60, which=st.sampled_from(range(len(NUMBERS))))
def test_numbers_of_maps(bench, valid, which):
    with bench.case("maps_of", NUMBERS[which]) as case:
        suite = fieldlevel.open_suite(valid.data, "MockTNG", check=False)
        given = NUMBERS[which]
        whole = lambda found: found.dtype.kind == "i" and "1.5" not in repr(given)  # noqa: E731
        case.library(lambda: suite.maps_of(given), "simulation", "MockTNG", sensible=whole)


SPLITS = [
    (8, 1, 0.75, 0.125),
    (0, 1, 0.9, 0.05),
    (1, 1, 0.9, 0.05),
    (-5, 1, 0.9, 0.05),
    (8, -1, 0.5, 0.2),
    (8, 2**32, 0.5, 0.2),
    (8, 1, 0.0, 0.5),
    (8, 1, 1.0, 0.0),
    (8, 1, 2.0, 0.5),
    (8, 1, np.nan, 0.1),
    (8, 1, 0.5, np.nan),
    (8, 1, -0.5, 0.5),
    (8, 1, 0.5, 0.5),
    (8.0, 1, 0.75, 0.125),
    ("8", 1, 0.75, 0.125),
    (8, 1.5, 0.75, 0.125),
    (8, None, 0.75, 0.125),
    (8, "1", 0.5, 0.2),
    (10**12, 1, 0.9, 0.05),
    (8, 1, "0.5", 0.2),
    (8, 1, np.inf, 0.2),
    (np.int64(8), np.int64(1), np.float32(0.5), 0.25),
    (True, 1, 0.9, 0.05),
    (8, 1, 0.99, 0.005),
    (2**62, 1, 0.9, 0.05),
]


@cases(6, 40, which=st.sampled_from(range(len(SPLITS))))
def test_splits(bench, valid, which):
    with bench.case("split_simulations", SPLITS[which]) as case:
        whole = lambda found: min(len(found.train), len(found.validation), len(found.test)) > 0  # noqa: E731
        names = ("split", "simulations", "seed", "train", "memory")
        case.library(lambda: fieldlevel.split_simulations(*SPLITS[which]), *names, sensible=whole)


@cases(
    8,
    80,
    name=st.sampled_from(sorted(INPUTS)),
    box=st.sampled_from([25.0, 0.0, -1.0, np.nan, np.inf, 1e-300, 1e300, None, "25"]),
)
def test_power_spectra(bench, valid, name, box):
    from fieldlevel.numerics.spectra import power_spectrum_2d  # noqa: PLC0415

    if name in may_differ | {"nan", "inf", "-inf", "all nan"}:
        name = "sound"
    with bench.case("power_spectrum_2d", (name, box)) as case:
        given = INPUTS[name]()
        case.library(lambda: _arrays(power_spectrum_2d(given, box)), "map", "box", "shape", sensible=is_finite)


def _arrays(found: Any) -> list[np.ndarray]:
    return [np.asarray(each) for each in found]
