"""Files that are complete or absent, and files that are read only if they are files.

Everything is written under a temporary name beside its own, brought to the disk, and renamed: whoever reads finds the
old file or the new one, after a kill, on a full disk and after a power failure. Temporary names cannot be guessed and
are opened so that no link is followed. One that a killed process left is taken away by the next that writes there.
"""

import csv
import errno
import os
import secrets
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import blake2b, file_digest
from io import StringIO
from pathlib import Path

from fieldlevel.errors import UserError, reason

MOST_BYTES = 2**28
"""Of a file of text that is read whole: tables, records, settings; larger ones are something else."""

_FOLDERS_OF_DEVICES = (Path("/dev"), Path("/proc"), Path("/sys"))
_SHARED_MEMORY = Path("/dev/shm")
_LONGEST_ENDING = 100
_MOST_LINKS = 40
_HOST_DIGITS, _RANDOM_DIGITS = 8, 16


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on leaving without an error it takes the final name at once.

    Args:
        path: the final name; a file or link of that name is replaced, what a link points to stays.

    Yields:
        The path to write to: an empty file, hidden and of the same ending.

    Raises:
        UserError: a folder, a device or a pipe has that name, or it lies among devices.
        OSError: with the name of the file, e.g. where the disk is full; a file that stood there is as it was.
    """
    _refuse_special(path)
    with naming(path):
        aside = _create_aside(path)
        try:
            yield aside
            sync(aside)
            aside.replace(path)
            sync(path.parent)
        finally:
            aside.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an error of the operating system the name of a file, if it has none of its own."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _create_aside(path: Path) -> Path:
    """An empty file of a new name, which no link can stand for."""
    _take_away_abandoned(path.parent)
    token = f"{_host()}-{os.getpid()}-{secrets.token_hex(_RANDOM_DIGITS // 2)}"
    aside = path.with_name(f".part.{token}.{path.name[-_LONGEST_ENDING:]}")
    os.close(open_own(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    return aside


def open_own(path: Path, flags: int) -> int:
    """Open a file of our own making, whose name must not be a link.

    Args:
        path: the file.
        flags: of `os.open`.

    Returns:
        A file descriptor.

    Raises:
        UserError: it is a link.
        OSError: as `os.open`.
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    raise UserError(f"{path}: is a link, through which another file would be changed; take it away")


@cache
def _host() -> str:
    return blake2b(socket.gethostname().encode(), digest_size=_HOST_DIGITS // 2).hexdigest()


def _take_away_abandoned(folder: Path) -> None:
    """Take away temporary files whose process is gone from this machine."""
    with suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 (once for each file that is written)
            if name.startswith(f".part.{_host()}-") and not _is_alive(name.split("-", 2)[1]):
                (folder / name).unlink(missing_ok=True)


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except OSError:
        return True
    return True


def sync(path: Path) -> None:
    """Have a file or folder on the disk, where the file system can."""
    file = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError) if path.is_dir() else naming(path):
            os.fsync(file)
    finally:
        os.close(file)


def write_text(path: Path, text: str) -> None:
    """Write a text file aside and rename it."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a binary file aside and rename it."""
    with written_aside(path) as aside:
        aside.write_bytes(content)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless they are there.

    Raises:
        UserError: it is a file, lies among devices, or may not be made.
    """
    _refuse_devices(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{folder}: is a file, or in one; name a folder with --out") from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}); name another folder with --out") from None


def make_place_for(path: Path, *inputs: Path) -> Path:
    """Make the folder of a file that is about to be written, and see that the file can be.

    Args:
        path: the file; one of that name is left as it is until it is replaced.
        inputs: files that are read for it.

    Returns:
        The path to write to: where a link leads, which stays a link.

    Raises:
        UserError: it is a folder, a device or one of the inputs, its folder is a file, or it may not be written.
    """
    target = _end_of_links(path)
    if target.exists() and any(target.samefile(each) for each in inputs if each.exists()):
        raise UserError(f"{path}: is the file to read itself; give the new one another name")
    make_folder(target.parent)
    try:
        _create_aside(target).unlink()
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); name another file") from None
    return target


def _end_of_links(path: Path) -> Path:
    """Where a link leads that a file may be written to; a link through a place of devices leads to what is open."""
    for _ in range(_MOST_LINKS):
        _refuse_special(path)
        if not path.is_symlink():
            return _resolved(path)
        path = path.parent / path.readlink()
    raise UserError(f"{path}: a link that leads to itself; name another file")


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except ValueError:
        raise UserError(f"{str(path)!r}: no name that a file can have; name another") from None
    except (OSError, RuntimeError):
        raise UserError(f"{path}: a link that leads to itself; name another file") from None


def _refuse_special(path: Path) -> None:
    """Refuse to put a file in the place of a folder, a device or a pipe."""
    _refuse_devices(path.parent)
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UserError(f"{path}: the name is too long; give it a shorter one") from None
        return
    except ValueError:
        raise UserError(f"{str(path)!r}: no name that a file can have; name another") from None
    if stat.S_ISDIR(mode):
        raise UserError(f"{path}: is a folder; name a file")
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise UserError(f"{path}: is a device or a pipe, which a file would replace; name another file")


def _refuse_devices(folder: Path) -> None:
    place = _resolved(folder)
    if place.is_relative_to(_SHARED_MEMORY):
        return
    if any(place.is_relative_to(devices) for devices in _FOLDERS_OF_DEVICES):
        raise UserError(f"{folder}: a place of devices, not of files; name another with --out")


def check_regular(path: Path, remedy: str = "give a file") -> None:
    """Refuse to read what is no file: a pipe would be waited for without end, a device has no end.

    Args:
        path: to be read by other code; that it is missing is left to that code to say.
        remedy: what to do.

    Raises:
        UserError: a folder, a pipe, a device or a socket.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return
    if stat.S_ISDIR(mode):
        raise UserError(f"{path}: is a folder; {remedy}")
    if not stat.S_ISREG(mode):
        raise UserError(f"{path}: is a pipe or a device; {remedy}")


def read_bytes(path: Path, remedy: str = "give a file", most: int = MOST_BYTES) -> bytes:
    """Read a file whole.

    Args:
        path: the file.
        remedy: what to do where it cannot be read.
        most: bytes that it may have.

    Raises:
        UserError: it cannot be read, is no file, or is larger.
    """
    check_regular(path, remedy)
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:  # the latter of names that hold a zero byte
        raise UserError(f"{path}: cannot be read ({reason(error)}); {remedy}") from None
    if len(content) > most:
        raise UserError(f"{path}: is larger than {most} bytes, as no such file is; {remedy}")
    return content


def read_text(path: Path, remedy: str = "give a file of text", most: int = MOST_BYTES) -> str:
    """Read a file of text whole; arguments and errors as those of `read_bytes`.

    Raises:
        UserError: also where it is not text in UTF-8.
    """
    content = read_bytes(path, remedy, most)
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a file of text; {remedy}") from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file of any size, 64 hexadecimal digits.

    Raises:
        UserError: it cannot be read, or is no file.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({reason(error)}); give a file") from None


def starts_with(path: Path, *beginnings: str) -> bool:
    """Whether a file is one of text that begins with one of these, so that it may be taken for one of ours."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            beginning = file.read(max(len(each.encode()) for each in beginnings))
    except (OSError, UserError):
        return False
    return any(beginning.startswith(each.encode()) for each in beginnings)


def read_table(
    path: Path, remedy: str = "give the command that wrote it again", kind: str = "table"
) -> list[dict[str, str]]:
    """Read a CSV file whose first row names its columns.

    Args:
        path: the file.
        remedy: what to do where it cannot be read.
        kind: what it should be, in words.

    Returns:
        Its rows by column.

    Raises:
        UserError: it cannot be read, is not text, has no columns, or a row of another length.
    """
    text = read_text(path, remedy)
    try:
        rows = list(csv.reader(StringIO(text, newline="")))
    except csv.Error as error:
        raise UserError(f"{path}: not a {kind} ({error}); {remedy}") from None
    if not rows:
        raise UserError(f"{path}: not a {kind} (it is empty); {remedy}")
    header, *rows = rows
    if any(len(row) != len(header) for row in rows):
        raise UserError(f"{path}: not a {kind} (a row is shorter or longer than the first); {remedy}")
    return [dict(zip(header, row, strict=True)) for row in rows]
