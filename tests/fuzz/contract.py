"""The law for every hostile input: the call works, or one line says what is wrong, where, and what to do.

Nothing but the output folder changes, no temporary file stays, nothing takes long or much memory.
"""

import faulthandler
import hashlib
import io
import json
import os
import re
import resource
import shutil
import signal
import stat
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, seed, settings

import fieldlevel
from fieldlevel.cli import main
from fieldlevel.data.suite import check_directory
from fieldlevel.errors import TrainingError, UserError

MOST_CHARACTERS = 600
"""Of a message, without the path of the case's folder."""
MOST_LINES = 3
"""On standard error, beside those of the progress."""
SECONDS = 20
MEMORY = 2 * 2**30
"""That a case may take beside what the tests hold [bytes]."""

CODES = (0, 1, 2, 130)
SOURCE = str(Path(fieldlevel.__file__).parent)
INSIDE = re.compile(
    r"Traceback|'NoneType'|<class|<[\w.]+ object| object at 0x|File \"|"
    r"\b(?:Key|Type|Value|Attribute|Index|Assertion|Recursion|Overflow|Runtime|Unpickling|Unicode\w+|OS|EOF)Error\b"
)
"""Words of a traceback, which no message has."""
PROGRESS = re.compile(r".*: \d+/\d+ \w+.*")
ANSI = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
HIDDEN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
"""Warnings that Python does not show to who runs a command."""


class TooLong(BaseException):
    """The case's time is up."""


class BreachError(AssertionError):
    """A case that breaks the law; `cause` is the same for cases of one root."""

    def __init__(self, rule: str, told: str, cause: str = "") -> None:
        self.rule, self.told, self.cause = rule, told, cause or rule
        super().__init__(f"{rule}: {told}" + (f"\n{cause}" if cause else ""))


@dataclass
class Bench:
    """Where all cases are tried, counted and, in a survey, written down instead of raised."""

    scratch: Path
    survey: Path | None = None
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    number: int = 0

    @contextmanager
    def case(self, kind: str, drawn: object = "") -> Iterator["Case"]:
        """A folder of its own, taken away afterwards."""
        self.number += 1
        if trace := os.environ.get("FUZZ_TRACE"):
            _append(Path(trace), f"{self.number} {kind} {str(drawn)[:300]}")
        folder = self.scratch / str(self.number)
        folder.mkdir()
        case = Case(kind, folder, folder / "out", self)
        try:
            yield case
        except BreachError as breach:
            self.counts[kind, "broken"] += 1
            if self.survey is None:
                raise
            self._note(kind, breach, drawn)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _note(self, kind: str, breach: BreachError, drawn: object) -> None:
        record = {"kind": kind, "rule": breach.rule, "cause": breach.cause, "told": breach.told, "drawn": repr(drawn)}
        _append(self.survey, json.dumps(record))


def _append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"{line}\n")


@dataclass
class Case:
    """One hostile input."""

    kind: str
    folder: Path
    out: Path
    bench: Bench
    also: tuple[str, ...] = ()
    """Other names in the folder that may change, as what the output links to."""

    def must(self, holds: bool, rule: str, told: str) -> None:
        """Say what else the law asks of a case."""
        if not holds:
            raise BreachError(rule, told, f"{rule}: {told}")

    def count(self, how: str) -> None:
        """Count a case that was tried by other means."""
        self.bench.counts[self.kind, how] += 1

    def library(self, work: Callable[[], Any], *names: str, sensible: Callable[[Any], bool] | None = None) -> Any:
        """Call the library; None where it refuses.

        Args:
            work: the call.
            names: of files or settings, one of which a refusal must tell.
            sensible: whether what it returned makes sense.
        """
        with self._unchanged():
            try:
                with _limits():
                    result = work()
            except (UserError, TrainingError) as error:
                where = _last_line(error.__traceback__)
                for message in [str(error), *getattr(error, "defects", [])]:
                    self._judge(message, names, where)
                self.bench.counts[self.kind, "refused"] += 1
                return None
            except (TooLong, Exception) as error:
                raise _broken(error) from error
        if sensible is not None and not sensible(result):
            raise BreachError("not sensible", _short(result))
        self.bench.counts[self.kind, "worked"] += 1
        return result

    def check(self, folder: Path) -> None:
        """List the defects of a data folder, each of which is a message."""
        for defect in self.library(lambda: check_directory(folder)) or ():
            self._judge(defect, (), "check_directory")

    def command(self, *arguments: object, names: Sequence[str] = (), may_interrupt: bool = False) -> int:
        """Run a command in this process; its exit code."""
        told, output = io.StringIO(), io.StringIO()
        with self._unchanged():
            try:
                with _limits(), redirect_stderr(told), redirect_stdout(output):
                    code = main([str(argument) for argument in arguments])
            except KeyboardInterrupt:
                raise BreachError("traceback", "KeyboardInterrupt leaves main") from None
            except SystemExit as leave:
                code = 2 if leave.code is None else leave.code
            except (TooLong, Exception) as error:
                raise _broken(error) from error
        if may_interrupt and "interrupted" in told.getvalue():
            names = ()
        self._judge_output(code, told.getvalue(), output.getvalue(), names)
        is_refused = code != 0 and "interrupted" not in told.getvalue()
        self.bench.counts[self.kind, "refused" if is_refused else "worked"] += 1
        return code

    def _judge_output(self, code: int, told: str, output: str, names: Sequence[str]) -> None:
        if code not in CODES:
            raise BreachError("exit code", repr(code))
        lines = [line for line in told.splitlines() if not PROGRESS.fullmatch(line)]
        if len(lines) > MOST_LINES:
            raise BreachError("many lines", "\n".join(lines)[:2000], f"many lines: {_template(lines[0])}")
        if "Traceback" in told + output:
            raise BreachError("traceback", (told + output)[-2000:], f"traceback: {_template(told[-200:])}")
        if code == 0:
            self._judge_files()
        elif code == 2 and not lines:
            for line in output.splitlines() or [""]:
                self._judge(line, ())
            if names and not any(name in output for name in names):
                raise BreachError("names nothing", f"none of {list(names)} in: {output[:500]}")
        elif code in (1, 2):
            self._judge(" ".join(lines), names)

    def _judge(self, message: str, names: Sequence[str], where: str = "") -> None:
        text = message.replace(str(self.folder), "").strip()
        cause = f"{where} {_template(text)}"
        if not text:
            raise BreachError("empty message", "", cause)
        if "\n" in text:
            raise BreachError("several lines", text, cause)
        if len(text) > MOST_CHARACTERS:
            raise BreachError("long message", f"{len(text)} characters: {text[:300]} ... {text[-100:]}", cause)
        if found := INSIDE.search(text):
            raise BreachError("words of a traceback", f"{found[0]!r} in {text}", cause)
        if ANSI.search(text):
            raise BreachError("control characters", repr(text), cause)
        if names and not any(name in text for name in names):
            raise BreachError("names nothing", f"none of {list(names)} in: {text}", cause)

    def _judge_files(self) -> None:
        for path in self.out.rglob("*.csv") if self.out.is_dir() else ():
            if path.is_file() and (found := re.search(r"(?i)(?<![a-z])(nan|inf)(?![a-z])", path.read_text())):
                raise BreachError("not finite", f"{found[0]} in {path.name}")
        for path in self.out.rglob("*.npy") if self.out.is_dir() else ():
            if path.is_file() and not path.is_symlink() and not _is_finite_map(path):
                raise BreachError("not finite", path.name)

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        may_change = (self.out, *(self.folder / name for name in self.also))
        before = _state(self.folder, may_change)
        yield
        after = _state(self.folder, may_change)
        if changed := sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path)):
            raise BreachError("changed beside the output", ", ".join(map(repr, changed[:5])))
        if left := [path for path in _walk(self.folder) if ".part." in path.rpartition("/")[2]]:
            raise BreachError("temporary file left", ", ".join(map(repr, left[:5])))


def _is_finite_map(path: Path) -> bool:
    """Also of what is no map file but bears such a name."""
    with path.open("rb") as file:
        return file.read(6) != b"\x93NUMPY" or bool(np.isfinite(np.load(path)).all())


def _walk(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        yield from (f"{place}/{name}" for name in (*folders, *files))


def _state(folder: Path, without: Sequence[Path]) -> dict[str, str]:
    """What everything in a folder is, but for the output."""
    held = {}
    for path in _walk(folder):
        if not any(path == str(each) or path.startswith(f"{each}/") for each in without):
            status = os.lstat(path)
            content = ""
            if stat.S_ISREG(status.st_mode) and status.st_size < 2**24:
                content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                content = str(Path(path).readlink())
            held[path] = f"{stat.S_IFMT(status.st_mode)} {content}"
    return held


@contextmanager
def _limits(seconds: float = SECONDS, memory: int = MEMORY) -> Iterator[None]:
    """Bound time and memory, and take a warning that would be shown for a breach."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = signal.signal(signal.SIGALRM, _stop)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        for kind in HIDDEN:
            warnings.simplefilter("ignore", kind)
        try:
            resource.setrlimit(resource.RLIMIT_AS, (held + memory, hard))
            signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
            faulthandler.dump_traceback_later(3 * seconds, exit=True, file=sys.__stderr__)
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    if shown:
        first = shown[0]
        place = f"{first.filename.replace(SOURCE, 'fieldlevel')}:{first.lineno}"
        raise BreachError("warning", f"{first.category.__name__}: {first.message} at {place}", f"warning at {place}")


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise TooLong


def _broken(error: BaseException) -> BreachError:
    if isinstance(error, BreachError):
        return error
    where = _last_line(error.__traceback__)
    if isinstance(error, TooLong):
        return BreachError("too long", f"more than {SECONDS} s at {where}", f"too long: {where}")
    last = traceback.extract_tb(error.__traceback__)[-1]
    told = f"{type(error).__name__}: {_short(error)} at {where} (raised in {Path(last.filename).name}:{last.lineno})"
    return BreachError("traceback", told, f"{type(error).__name__} at {where}")


def _last_line(trace: TracebackType | None) -> str:
    """Where in the package an error went through last."""
    frames = [frame for frame in traceback.extract_tb(trace) if frame.filename.startswith(SOURCE)]
    if not frames:
        return "outside of the package"
    return f"{frames[-1].filename.replace(SOURCE, 'fieldlevel')}:{frames[-1].lineno} {frames[-1].name}"


def _template(text: str) -> str:
    """A message without what is of one case only."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|[-+]?\d[\d.e+-]*|/\S+", "*", text)[:120]


def _short(value: object) -> str:
    text = repr(value) if not isinstance(value, BaseException) else str(value)
    return text if len(text) <= 300 else f"{text[:300]} ..."


def cases(few: int, many: int, *, seeds: Sequence[dict[str, Any]] = (), **strategies: Any) -> Callable[..., Any]:
    """Make a test of a few cases for every day and one of many, marked slow.

    Args:
        few: cases of the first.
        many: cases of the second.
        seeds: cases that failed once, tried first.
        strategies: of Hypothesis, by argument of the law.
    """
    amounts = [pytest.param(few, id="few"), pytest.param(many, id="many", marks=pytest.mark.slow)]
    is_survey = bool(os.environ.get("FUZZ_SURVEY"))
    phases = (Phase.explicit, Phase.generate) if is_survey else (Phase.explicit, Phase.generate, Phase.shrink)

    def decorate(law: Callable[..., None]) -> Callable[..., None]:
        @pytest.mark.parametrize("amount", amounts)
        def test(amount: int, bench: Bench, valid: Any) -> None:
            def each(**drawn: Any) -> None:
                law(bench, valid, **drawn)

            tried = given(**strategies)(each)
            for one in seeds:
                tried = example(**one)(tried)
            tried = seed(int(os.environ.get("FUZZ_SEED", "0")))(tried)
            settings(
                max_examples=amount,
                deadline=None,
                database=None,
                phases=phases,
                suppress_health_check=list(HealthCheck),
            )(tried)()

        test.__name__, test.__doc__, test.__module__ = law.__name__, law.__doc__, law.__module__
        return test

    return decorate


def is_finite(value: Any) -> bool:
    """Whether arrays, numbers and what holds them are finite."""
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_finite, value))
    return bool(np.isfinite(np.asarray(value)).all())
