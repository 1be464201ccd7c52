"""Folders: names, links, pipes, devices, missing and foreign files, as data and as output."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from artefacts import EVALUATE_FLAGS, FLAGS, PROJECT_FLAGS, SIMULATE_FLAGS, copy, one_core, write_suite
from contract import cases
from hypothesis import strategies as st

MAPS = "Maps_Mtot_MockTNG_LH_z=0.00.npy"
LABELS = "params_LH_MockTNG.txt"
FILES = [MAPS, LABELS, "Maps_Mtot_MockSIMBA_LH_z=0.00.npy", "params_LH_MockSIMBA.txt"]
NAMES = [
    "Maps_Mtot_Mock TNG_LH_z=0.00.npy",
    "Maps_Mtot_MockTNG_LH_z=0.0.npy",
    "Maps_Mtot_MockTNG_LH_z=1.00.npy",
    "Maps_mtot_MockTNG_LH_z=0.00.npy",
    "Maps_MTOT_MockTNG_LH_z=0.00.npy",
    "Maps__MockTNG_LH_z=0.00.npy",
    "Maps_Mtot__LH_z=0.00.npy",
    "Maps_Mtot_MockTNG__z=0.00.npy",
    "Maps_Mtot_a_b_c_d_LH_z=0.00.npy",
    "Maps_Mtot_=cmd_LH_z=0.00.npy",
    "Maps_Mtot_<b>_LH_z=0.00.npy",
    "Maps_Mtot_[red]_LH_z=0.00.npy",
    "Maps_Mtot_\x1b[31m_LH_z=0.00.npy",
    "Maps_Mtot_a\nb_LH_z=0.00.npy",
    "Maps_Mtot_é_LH_z=0.00.npy",
    "Maps_Mtot_\udcff_LH_z=0.00.npy",
    "Maps_Mtot_" + "A" * 200 + "_LH_z=0.00.npy",
    "Maps_Mtot_日本_LH_z=0.00.npy",
    "Maps_Nope_MockTNG_LH_z=0.00.npy",
    "Maps_T_MockTNG_LH_z=0.00.npy",
    "Maps_Mtot_Nbody_MockTNG_LH_z=0.00.npy",
    "Maps_Mtot_Nbody_Nbody_MockTNG_LH_z=0.00.npy",
    "Maps_Mtot_MockTNG_CV_z=0.00.npy",
    "Maps_Mtot_MockTNG_SB28_z=0.00.npy",
    "Maps_Mtot_MockTNG_LH_z=0.00.npy.gz",
    ".Maps_Mtot_MockTNG_LH_z=0.00.npy",
    "Maps_",
    "Maps_x",
    "params_.txt",
    "params_LH_.txt",
    "params_LH_x.txt",
    "params_LH_\udcff.txt",
    "params_a\nb_c.txt",
    "params_LH_Nbody.txt",
    "params_MockTNG.txt",
    "Grids_Mtot_MockTNG_LH_128_z=0.0.npy",
    "CosmoAstroSeed_IllustrisTNG_L25n256_LH.txt",
    "-x",
    "--help",
    "~",
    "*",
    "$HOME",
    " ",
    "...",
    "provenance.json",
    ".DS_Store",
    "README.md",
    "Maps_Mtot_MockTNG_LH_z=0.00 (1).npy",
    "\u202e.txt",
    "a" * 255,
]


def _replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.unlink()
        make(path)

    return change


def _outside(path: Path) -> Path:
    """A file beside the folder."""
    return path.parent.parent / "outside"


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**42)


def _zip(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.ones(3))


class _Bomb:
    def __reduce__(self):
        return os.abort, ()


def _pickle(path: Path) -> None:
    array = np.empty(1, dtype=object)
    array[0] = _Bomb()
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=True)


def _socket(path: Path) -> None:
    os.mknod(path, 0o140644)


def _chain(path: Path) -> None:
    for n in range(50):
        (path.parent / f"link{n}").symlink_to(f"link{n + 1}")
    path.symlink_to("link0")


CHANGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": _replaced(Path.touch),
    "a folder": _replaced(Path.mkdir),
    "a pipe": _replaced(os.mkfifo),
    "a link to itself": _replaced(lambda path: path.symlink_to(path.name)),
    "a dangling link": _replaced(lambda path: path.symlink_to("nowhere")),
    "a link to zero": _replaced(lambda path: path.symlink_to("/dev/zero")),
    "a link to null": _replaced(lambda path: path.symlink_to("/dev/null")),
    "a link to stdin": _replaced(lambda path: path.symlink_to("/dev/stdin")),
    "a link to a folder": _replaced(lambda path: path.symlink_to("/etc")),
    "a link to text": _replaced(lambda path: path.symlink_to("/etc/passwd")),
    "a link to memory": _replaced(lambda path: path.symlink_to("/proc/self/mem")),
    "a link to the other": _replaced(lambda path: path.symlink_to(FILES[(FILES.index(path.name) + 2) % 4])),
    "sparse": _replaced(_sparse),
    "text": _replaced(lambda path: path.write_text("x\n")),
    "long text": _replaced(lambda path: path.write_bytes(b"1 " * 10**6)),
    "zeros": _replaced(lambda path: path.write_bytes(bytes(10**5))),
    "a zip": _replaced(_zip),
    "a pickle": _replaced(_pickle),
    "unreadable": lambda path: path.chmod(0),
    "a socket": _replaced(_socket),
    "chain of links": _replaced(_chain),
}


commands = st.sampled_from(["check", "check_directory", "train", "evaluate", "infer", "letter"])


def use(case, valid, data: Path, command: str, suite: str = "MockTNG") -> None:
    if command == "check":
        case.command("check", data)
    elif command == "check_directory":
        case.check(data)
    elif command == "train":
        case.command("train", "--data", data, "--suite", suite, "--out", case.out, *FLAGS)
    elif command == "evaluate":
        case.command("evaluate", valid.weights, "--data", data, "--suite", suite, "--out", case.out, "--device", "cpu")
    elif command == "infer":
        case.command("infer", valid.weights, data / MAPS, "--out", case.out / "x.csv", "--device", "cpu")
    else:
        with one_core():
            case.command(
                "letter",
                "--data",
                data,
                "--out",
                case.out,
                "--train.split.train",
                "0.75",
                "--train.split.validation",
                "0.125",
                "--train.n-steps",
                "0",
            )


@cases(
    20,
    350,
    changes=st.lists(
        st.tuples(st.sampled_from(FILES), st.sampled_from(sorted(CHANGES))),
        min_size=1,
        max_size=2,
        unique_by=lambda one: one[0],
    ),
    command=commands,
)
def test_files(bench, valid, changes, command):
    with bench.case("files of data folders", (changes, command)) as case:
        data = copy(valid.data, case.folder / "data")
        for name, change in changes:
            CHANGES[change](data / name)
        use(case, valid, data, command)


@cases(
    16,
    250,
    name=st.sampled_from(NAMES),
    content=st.sampled_from(["maps", "labels", "nothing", "folder"]),
    command=commands,
)
def test_names(bench, valid, name, content, command):
    with bench.case("names in data folders", (name, content, command)) as case:
        data = copy(valid.data, case.folder / "data")
        path = data / name
        if content == "folder" and not path.exists():
            path.mkdir()
        elif content != "folder":
            body = {"maps": (data / MAPS).read_bytes(), "labels": (data / LABELS).read_bytes(), "nothing": b""}[content]
            path.write_bytes(body)
        use(case, valid, data, command)


SUITES = [
    "MockTNG",
    "Nbody_MockTNG",
    "IllustrisTNG",
    "",
    " ",
    "x",
    "../data/x",
    "/etc/passwd",
    "a/b",
    "..",
    ".",
    "\n",
    "\x1b[31m",
    "é",
    "\udcff",
    "A" * 300,
    "=cmd",
    "<b>",
    "[b]",
    "*",
    "-",
    "a\0b",
    "MockTNG_LH",
    "Nbody_",
    "mocktng",
]


@cases(
    12,
    200,
    suite=st.sampled_from(SUITES),
    set_name=st.sampled_from(["LH", *SUITES]),
    command=st.sampled_from(["train", "evaluate"]),
)
def test_suites(bench, valid, suite, set_name, command):
    with bench.case("names of suites and sets", (suite, set_name, command)) as case:
        if command == "train":
            case.command(
                "train", "--data", valid.data, f"--suite={suite}", f"--set={set_name}", "--out", case.out, *FLAGS
            )
        else:
            flags = (f"--suite={suite}", f"--set={set_name}", "--out", case.out, "--device", "cpu")
            case.command("evaluate", valid.weights, "--data", valid.data, *flags)


def _made(path: Path, make: Callable[[Path], object]) -> Path:
    make(path)
    return path


def _link_to_folder(out: Path) -> Path:
    (out.parent / "target").mkdir()
    out.symlink_to("target")
    return out


OUTPUTS: dict[str, Callable[[Path], Path]] = {
    "new": lambda out: out,
    "deep": lambda out: out / "a" / "b" / "c",
    "file": lambda out: _made(out, lambda p: p.write_text("x")),
    "in a file": lambda out: _made(out, lambda p: p.write_text("x")) / "a",
    "pipe": lambda out: _made(out, os.mkfifo),
    "socket": lambda out: _made(out, _socket),
    "dangling link": lambda out: _made(out, lambda p: p.symlink_to("elsewhere")),
    "link to itself": lambda out: _made(out, lambda p: p.symlink_to(p.name)),
    "link to a folder": _link_to_folder,
    "null": lambda _: Path("/dev/null"),
    "in null": lambda _: Path("/dev/null/x"),
    "proc": lambda _: Path("/proc/self/x"),
    "proc fd": lambda _: Path("/proc/self/fd"),
    "sys": lambda _: Path("/sys/x"),
    "stdout": lambda _: Path("/dev/stdout"),
    "link to null": lambda out: _made(out, lambda p: p.symlink_to("/dev/null")),
    "link to dev": lambda out: _made(out, lambda p: p.symlink_to("/dev")),
    "nul": lambda out: Path(f"{out}\0x"),
    "long name": lambda out: out / ("n" * 300),
    "long path": lambda out: out / "/".join(["d" * 200] * 30),
    "surrogate": lambda out: out / "\udcff\udcfe",
    "line": lambda out: out / "a\nb",
    "escape": lambda out: out / "\x1b[31mred",
    "blank": lambda out: out / " ",
    "dots": lambda out: out / ".." / "out" / ".",
    "dash": lambda out: out / "-x",
    "brackets": lambda out: out / "[bold]x[/bold]",
    "braces": lambda out: out / "{x} %s",
}


makers = st.sampled_from(["train", "tune", "project", "infer", "infer in", "evaluate", "shrink", "simulate"])


@cases(
    24,
    250,
    output=st.sampled_from(sorted(OUTPUTS)),
    command=makers,
    seeds=[
        {"output": output, "command": command}
        for output in ("nul", "long path")
        for command in ("train", "infer", "project")
    ],
)
def test_outputs(bench, valid, output, command):
    with bench.case("output folders", (output, command)) as case:
        out = OUTPUTS[output](case.out)
        if output in ("link to a folder", "dangling link"):
            case.also = ("target", "elsewhere")
        given = {
            "train": ("train", "--data", valid.data, *FLAGS, "--out", out),
            "tune": ("tune", "--data", valid.data, *FLAGS, "--n-trials", 1, "--n-kept", 1, "--out", out),
            "project": ("project", valid.snapshot, *PROJECT_FLAGS, "--out", out),
            "infer": ("infer", valid.weights, valid.data / MAPS, "--device", "cpu", "--out", out),
            "infer in": ("infer", valid.weights, valid.data / MAPS, "--device", "cpu", "--out", out / "x.csv"),
            "evaluate": ("evaluate", valid.weights, "--data", valid.data, *EVALUATE_FLAGS, "--out", out),
            "shrink": ("shrink", valid.weights, out),
            "simulate": ("simulate", "--n-simulations", 1, *SIMULATE_FLAGS, "--out", out),
        }[command]
        case.command(*given)


FOREIGN = [
    "metrics.json",
    "predictions.csv",
    "spec.json",
    "history.csv",
    "weights.safetensors",
    "resume.pt",
    "journal.log",
    "trials.csv",
    "importance.json",
    "provenance.json",
    "params_LH_Mine.txt",
    "Maps_Mtot_Mine_LH_z=0.00.npy",
    ".lock",
    ".Mine_LH.partial",
    ".search.lock",
    "report.html",
    "trial-0",
    ".simulate.lock",
]


def _foreign_folder(path: Path) -> None:
    (path.parent.parent / "outside folder").mkdir()
    (path.parent.parent / "outside folder" / "plan.json").write_text("mine")
    path.symlink_to("../outside folder")


FORMS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("mine, not yours\n"),
    "json": lambda path: path.write_text('{"mine": 1}'),
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "link out": lambda path: path.symlink_to(_outside(path)),
    "dangling": lambda path: path.symlink_to("nowhere"),
    "loop": lambda path: path.symlink_to(path.name),
    "null": lambda path: path.symlink_to("/dev/null"),
    "empty": Path.touch,
    "link to a folder": _foreign_folder,
}


@cases(
    20,
    300,
    name=st.sampled_from(FOREIGN),
    form=st.sampled_from(sorted(FORMS)),
    command=st.sampled_from(["train", "tune", "project", "evaluate"]),
    seeds=[
        {"name": "journal.log", "form": "link out", "command": "tune"},
        {"name": "journal.log", "form": "pipe", "command": "tune"},
        {"name": "spec.json", "form": "pipe", "command": "tune"},
    ],
)
def test_foreign_files(bench, valid, name, form, command):
    """Files of somebody else's in the output folder stay as they are where they are text of another kind."""
    with bench.case("foreign files", (name, form, command)) as case:
        case.out.mkdir()
        (case.folder / "outside").write_text("keep me")
        FORMS[form](case.out / name)
        given = {
            "train": ("train", "--data", valid.data, *FLAGS, "--out", case.out),
            "tune": ("tune", "--data", valid.data, *FLAGS, "--n-trials", 1, "--n-kept", 1, "--out", case.out),
            "project": ("project", valid.snapshot, *PROJECT_FLAGS, "--out", case.out),
            "evaluate": ("evaluate", valid.weights, "--data", valid.data, *EVALUATE_FLAGS, "--out", case.out),
        }[command]
        case.command(*given)
        if form == "text" and not name.endswith(".lock"):
            kept = (case.out / name).is_file() and (case.out / name).read_text(errors="replace") == "mine, not yours\n"
            case.must(kept, "foreign file replaced", f"{name} by {command}")


def test_what_is_changed_was_sound(bench, valid, tmp_path):
    with bench.case("sound", "") as case:
        write_suite(case.folder / "data", "MockTNG", 0)
        use(case, valid, case.folder / "data", "check")
