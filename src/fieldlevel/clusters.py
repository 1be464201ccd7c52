"""Work on the machines of a cluster: dask.distributed, or any `concurrent.futures.Executor`.

Pieces of work travel by pickle and maps come back; all else lies in the folders of the command, which every worker must
see under the same paths. A worker that dies has its piece done by another (`distributed.scheduler.allowed-failures`
says how often). Jobs of SLURM are as the configuration of dask-jobqueue has them, and as many as
`distributed.adaptive` allows.

References:
    https://distributed.dask.org, https://jobqueue.dask.org.
"""

import gc
import logging
import os
import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from shutil import which
from typing import Any

from fieldlevel.crews import Crew, given_to
from fieldlevel.errors import UserError, reason, shown
from fieldlevel.extras import need
from fieldlevel.pieces import Abandoned
from fieldlevel.progress import Listener, Progress

SLURM = "slurm"
SECONDS_TO_CONNECT = 10
_TALKING = ("distributed", "distributed.client", "tornado.application")
_ADDRESS = re.compile(r"([a-z]+://)?[^\s/]+:\d{1,5}")
_FORMS = f"tcp://HOST:PORT of a scheduler, its file SCHEDULER.json, or {SLURM}"


@contextmanager
def on_cluster(where: Any, device: str = "auto") -> Iterator[None]:
    """Context in which the workers of a cluster do all work that is many pieces.

    These are simulations, snapshots, the networks of `make_letter` and `make_robustness`, and trials of `tune`. All
    else stays here.

    Args:
        where: `"tcp://host:8786"` (a dask scheduler), the file that it wrote (`"scheduler.json"`), `"slurm"` (jobs by
            dask-jobqueue), a `distributed.Client`, or any `concurrent.futures.Executor`. Workers must see the folders
            that are spoken of under the same paths, and have this package.
        device: of the workers: `"auto"` (the GPU that a worker sees, else its CPU), `"cuda"` (no worker without one) or
            `"cpu"`. What stays here takes the same, and the CPU where this machine has none.

    Raises:
        UserError: no such scheduler, or dask is not installed.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> import fieldlevel
        >>> with ThreadPoolExecutor(2) as threads, fieldlevel.on_cluster(threads, "cpu"):
        ...     pass  # simulate_suite(...), make_letter(...)
    """
    with ExitStack() as opened:
        yield opened.enter_context(given_to(_crew(where, device, opened)))


def _crew(where: Any, device: str, opened: ExitStack) -> Crew:
    if isinstance(where, Executor):
        n_workers = getattr(where, "_max_workers", None) or os.cpu_count() or 1
        return Crew(where, type(where).__name__, device, lambda: n_workers)
    client = opened.enter_context(_connected(where)) if isinstance(where, str | Path) else where
    if not hasattr(client, "get_executor"):
        raise UserError(f"cluster {shown(where)}: give {_FORMS}, a distributed.Client, or an Executor")
    name = f"dask {client.scheduler.address}"
    return Crew(client.get_executor(pure=False), name, device, partial(_count, client, name), partial(_telling, client))


@contextmanager
def _connected(where: str | Path) -> Iterator[Any]:
    """A client of the scheduler of an address or file, or of one of our own whose workers are jobs."""
    dask = need("distributed")
    with ExitStack() as opened:
        opened.enter_context(_quiet_dask())
        if str(where) == SLURM:
            where = opened.enter_context(_jobs())
        told = {"address": where} if not isinstance(where, str | Path) else _place(str(where))
        with _client(where, partial(dask.Client, **told, timeout=SECONDS_TO_CONNECT, set_as_default=False)) as client:
            yield client


def _client(where: str | Path, connect: Callable[[], Any]) -> Any:
    """A client, or why there is none.

    One that was made by half closes itself as it is collected. While another one is made that would wait for ever for
    a lock which its own thread holds, so it is collected here.
    """
    try:
        return connect()
    except Exception as error:  # noqa: BLE001 (which one depends on what is there instead)
        told = f"cluster {shown(where)}: no scheduler answers ({reason(error)})"
    gc.collect()
    raise UserError(told)


@contextmanager
def _quiet_dask() -> Iterator[None]:
    """A connection that is lost is an error of one line; dask would print how it tried."""
    loggers = [(logging.getLogger(name), logging.getLogger(name).level) for name in _TALKING]
    for logger, _ in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in loggers:
            logger.setLevel(level)


def _place(where: str) -> dict[str, str]:
    """What a client is told of a scheduler: its file or its address."""
    if where.endswith(".json") and Path(where).is_file():
        return {"scheduler_file": where}
    if not _ADDRESS.fullmatch(where):
        what = "there is no such file" if where.endswith(".json") else "is no address of a scheduler"
        raise UserError(f"cluster {shown(where)}: {what}; give {_FORMS}")
    return {"address": where}


@contextmanager
def _jobs() -> Iterator[Any]:
    """Jobs of SLURM that are submitted as there is work, and cancelled at the end."""
    jobqueue = need("dask_jobqueue")
    if which("sbatch") is None:
        raise UserError(f"cluster {SLURM}: there is no sbatch here; give the command where jobs are submitted")
    try:
        cluster = jobqueue.SLURMCluster()
    except ValueError as error:
        told = f"cluster {SLURM}: {reason(error)}"
        raise UserError(f"{told}; write it below jobqueue: slurm: in ~/.config/dask/jobqueue.yaml") from None
    with cluster:
        cluster.adapt()
        yield cluster


def _count(client: Any, name: str) -> int:
    try:
        return len(client.nthreads())
    except Exception:  # noqa: BLE001 (which one depends on how the connection ended)
        raise UserError(f"{name}: the connection is lost; the same command continues") from None


@contextmanager
def _telling(client: Any, listener: Listener) -> Iterator["_Begin"]:
    """What the workers tell goes to the listener, by way of the scheduler."""
    topic = f"fieldlevel-{uuid.uuid4().hex}"
    client.subscribe_topic(topic, lambda event: listener(Progress(**event[1]["told"])))
    try:
        yield _Begin(topic)
    finally:
        with suppress(Exception):  # of a connection that is lost, which is told where results are taken
            client.unsubscribe_topic(topic)


@dataclass(frozen=True)
class _Begin:
    """Gives a dask worker a listener that tells a topic; it raises `Abandoned` once nobody wants the piece."""

    topic: str

    def __call__(self) -> Listener:
        worker = need("distributed").get_worker()
        return partial(_tell, worker, worker.get_current_task(), self.topic)


def _tell(worker: Any, key: Any, topic: str, event: Progress) -> None:
    task = worker.state.tasks.get(key)
    if task is None or task.state == "cancelled":
        raise Abandoned
    numbers = {name: float(value) for name, value in event.numbers.items()}
    worker.log_event(topic, {"told": asdict(event) | {"numbers": numbers}})
