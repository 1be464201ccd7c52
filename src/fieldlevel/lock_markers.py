"""Lock files where a file system has no locks: signs of life of holders, and what is done with those of dead ones.

`filelock` writes the number of the process and the name of its machine into such a file, and takes over those of
processes of this machine that are gone. Of another machine it knows nothing, so a holder touches its file as long as it
lives (`beating`), and a file that was not touched for `SECONDS_TO_DEATH` may be taken away (`Watch`).

Nobody is taken for dead by a clock alone, as those of two machines may differ: whoever takes a file away has watched it
for several touches first. One of several does (`take_away`).
"""

import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

SECONDS_BETWEEN_BEATS = 10.0
"""After which a holder touches its file again."""
SECONDS_WATCHED = 30.0
"""Without a touch before a file is taken away, however old it is."""
SECONDS_TO_DEATH = 600.0
"""Without a touch after which a holder on another machine counts as dead."""
_MOST_BYTES = 1024
_READ = os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0)


class Marker(NamedTuple):
    """A lock file as it is seen.

    Attributes:
        place: device and number of the file.
        touched: when, in ns.
        process: number of the process that holds the lock.
        host: name of its machine; containers add a sign of their own behind a `?`.
    """

    place: tuple[int, int]
    touched: int
    process: int
    host: str


def read_marker(path: Path) -> Marker | None:
    """What a lock file tells; None where there is none, or one that is locked by the file system.

    The file is opened, as clients of network file systems then ask the server for its time.
    """
    try:
        file = os.open(path, _READ)
    except OSError:
        return None
    try:
        status, content = os.fstat(file), os.read(file, _MOST_BYTES)
    finally:
        os.close(file)
    process, _, rest = content.decode(errors="replace").partition("\n")
    host = rest.partition("\n")[0]
    if not (process.isascii() and process.isdigit() and len(process) < len("2147483648") and host):
        return None
    return Marker((status.st_dev, status.st_ino), status.st_mtime_ns, int(process), host)


@contextmanager
def beating(path: Path) -> Iterator[None]:
    """Touch a lock file that this process has made, while the context lasts; nothing where the file system locks."""
    marker = read_marker(path)
    if marker is None:
        yield
        return
    stop = threading.Event()
    heart = threading.Thread(target=_beat, args=(path, marker.place, stop), daemon=True)
    heart.start()
    try:
        yield
    finally:
        stop.set()


def _beat(path: Path, place: tuple[int, int], stop: threading.Event) -> None:
    while not stop.wait(SECONDS_BETWEEN_BEATS):
        with suppress(OSError):
            status = path.lstat()
            if (status.st_dev, status.st_ino) == place:
                os.utime(path)


class Watch:
    """What has been seen of a lock file that somebody else holds."""

    def __init__(self) -> None:
        self.marker: Marker | None = None
        self._since = self._age = 0.0
        self._begun = time.monotonic()

    def look(self, path: Path) -> None:
        """Look again."""
        marker = read_marker(path)
        if marker != self.marker:
            self.marker, self._since = marker, time.monotonic()
            self._age = 0.0 if marker is None else _age(path, marker.touched)

    @property
    def is_suspicious(self) -> bool:
        """Whether its holder may be dead."""
        if self.marker is None or _is_alive_here(self.marker):
            return False
        return self._age + self._seconds >= SECONDS_TO_DEATH

    @property
    def is_over(self) -> bool:
        """Whether its holder is dead."""
        return self.is_suspicious and self._seconds >= SECONDS_WATCHED

    @property
    def is_vain(self) -> bool:
        """Whether a suspicion has lasted too long to be one: its holder beats, by another clock."""
        return time.monotonic() - self._begun > 2 * SECONDS_WATCHED

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._since


def _age(path: Path, touched: int) -> float:
    """Seconds since a file was touched, by the clock that the file system gives new files; never below 0."""
    probe = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.now")
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        now = probe.lstat().st_mtime_ns
    except OSError:
        return 0.0
    finally:
        with suppress(OSError):
            probe.unlink()
    return max(0.0, 1e-9 * (now - touched))


def _is_alive_here(marker: Marker) -> bool:
    """Whether a process of that number runs on a machine of that name; filelock knows whether it is another one.

    Nothing is known of the numbers in a container, whose name has a sign behind a `?`: its beats tell.
    """
    if marker.host != socket.gethostname():
        return False
    try:
        os.kill(marker.process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def take_away(path: Path, marker: Marker) -> None:
    """Take a lock file of a dead holder away, unless another process does or it is another one by now.

    The file goes by way of a name that only one process can make, as two that unlink it one after the other would take
    away the lock of whoever got it between. A process that died over that is followed by the next name.
    """
    names = (path.with_name(f"{path.name}.{marker.place[1]}-{marker.touched}-{n}.taken") for n in itertools.count())
    tried: list[Path] = []
    for name in names:
        tried.append(name)
        try:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            with suppress(OSError):
                if _age(path, name.lstat().st_mtime_ns) >= SECONDS_TO_DEATH:
                    continue
            return
        except OSError:
            return
        break
    with suppress(OSError):
        if read_marker(path) == marker:
            path.rename(tried[-1])
            if read_marker(tried[-1]) != marker:  # of somebody who got the lock just now
                os.link(tried[-1], path)
    for name in tried:
        with suppress(OSError):
            name.unlink()
