"""A cell spread over ranks: a worker starts them with the site's launcher, waits, and says how it ended.

`python -m jobs.cells.spread cell TASK` is one of the ranks. The first one does what a worker does with a cell; what it
stores is what one process alone would have stored.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict

from jobs.cells.failures import note_failure
from jobs.cells.heartbeat import remove_beat
from jobs.cells.mpi import REMEDY, Dismissed, MPIRanks, RankFailed, RanksUnavailable
from jobs.cells.pulse import RankWatch, beat_as_rank, forget_ranks
from jobs.cells.signals import listen, note, stop_asked
from jobs.cells.worker import Desk, DiskFull, Outcome, assist, run_cell

_STATUS: dict[Outcome, int] = {"done": 0, "failed": 21, "locked": 22}
_UNAVAILABLE_STATUS, _DISK_FULL_STATUS, _STOPPED_STATUS = 23, 28, 64
"""Further exit statuses of a rank: cells cannot be spread over ranks here, the disk is full, or it was asked
to stop. The number of the signal that asked is added to the last one."""
_ENDED = "cell ended: "
_LOOK_SECONDS, _WATCH_SECONDS = 0.05, 1.0
_READER_SECONDS, _AFTERMATH_SECONDS = 5.0, 1.0
_CHECK_SECONDS = 120
_LINES_KEPT = 20


class RankTask(BaseModel):
    """What a rank is told: a cell's folder, and the desk at which it works."""

    model_config = ConfigDict(extra="forbid")

    folder: Path
    directory: Path
    session: str
    threads: int
    references: tuple[Path, ...]
    in_job: bool
    ranks: int


def check_ranks(ranks: int, launcher: tuple[str, ...]) -> None:
    """Raise RanksUnavailable where cells cannot be spread over so many ranks from here; starts them to see."""
    if ranks < 1:
        raise RanksUnavailable(f"a cell spans at least one rank, not {ranks}")
    if ranks == 1:
        return
    if find_spec("mpi4py") is None:
        raise RanksUnavailable(f"{ranks} ranks were asked for, but mpi4py is not installed; {REMEDY}")
    if _program(launcher[0]) is None:
        raise RanksUnavailable(
            f"{ranks} ranks were asked for, but there is no {launcher[0]!r} here; {REMEDY}"
        )
    try:
        tried = subprocess.run(
            _command(ranks, launcher, "check", str(ranks)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=_environment(),
            timeout=_CHECK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RanksUnavailable(
            f"{ranks} ranks were asked for, but {' '.join(launcher)} did not bring them together in "
            f"{_CHECK_SECONDS} s; does `{launcher[0]} -n {ranks} hostname` answer here?"
        ) from None
    if tried.returncode:
        said = [line for line in tried.stderr.splitlines() if "ranks were asked for" in line]
        raise RanksUnavailable(said[0] if said else f"{' '.join(launcher)} failed: {tried.stderr.strip()}")


def _command(ranks: int, launcher: tuple[str, ...], *arguments: str) -> list[str]:
    python = (sys.executable, "-u", "-m", "jobs.cells.spread", *arguments)
    return [str(_program(launcher[0])), *launcher[1:], "-n", str(ranks), *python]


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONSAFEPATH": "1"}


def spread_cell(folder: Path, desk: Desk) -> Outcome:
    """What `jobs.cells.worker.run_cell` does, over the desk's ranks. Raises DiskFull."""
    task = RankTask(
        folder=folder.resolve(),
        directory=desk.directory.resolve(),
        session=desk.session,
        threads=desk.threads,
        references=tuple(path.resolve() for path in desk.reference_folders),
        in_job=desk.in_job,
        ranks=desk.ranks,
    )
    launched = subprocess.Popen(
        _command(desk.ranks, desk.launcher, "cell", task.model_dump_json()),
        # The first rank stops when this pipe closes: on purpose, or because this process is gone.
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    )
    assert launched.stderr is not None
    said: deque[str] = deque(maxlen=_LINES_KEPT)
    told: list[int] = []
    reader = threading.Thread(target=_pass_on, args=(launched.stderr, said, told), daemon=True)
    reader.start()
    silent = _wait_for(launched, RankWatch(folder, desk.ranks))
    # What a launcher leaves behind may hold the other end of its output open.
    reader.join(_READER_SECONDS)
    forget_ranks(folder)
    if told and told[0] == _DISK_FULL_STATUS:
        raise DiskFull(f"no room left on the disk of {folder}")
    if told and told[0] >= _STOPPED_STATUS:
        note(told[0] - _STOPPED_STATUS)
        return "stopped"
    if told:
        return next(outcome for outcome, status in _STATUS.items() if status == told[0])
    return _untold(folder, desk, launched.returncode, silent, "".join(said))


def _wait_for(launched: "subprocess.Popen[str]", watch: RankWatch) -> list[int]:
    """Wait until a launcher has ended, or until it was ended since ranks went silent. Returns these ranks."""
    assert launched.stdin is not None
    parent, looked = os.getppid(), time.monotonic()
    while launched.poll() is None:
        if stop_asked() or os.getppid() != parent:
            launched.stdin.close()
        if time.monotonic() - looked > _WATCH_SECONDS:
            looked = time.monotonic()
            if silent := watch.silent():
                _end(launched)
                return silent
        time.sleep(_LOOK_SECONDS)
    if os.getppid() != parent:
        raise SystemExit("the process that started this worker is gone; the cell continues at the next run")
    return []


def _end(launched: "subprocess.Popen[str]") -> None:
    """End a launcher and the ranks it has started: srun and mpirun kill these at the second SIGINT."""
    for number, seconds in ((signal.SIGINT, 0.3), (signal.SIGINT, 15.0), (signal.SIGKILL, None)):
        launched.send_signal(number)
        try:
            launched.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        return


def _untold(folder: Path, desk: Desk, status: int, silent: list[int], said: str) -> Outcome:
    """The outcome of a cell whose first rank did not tell how it ended."""
    # Whatever killed the ranks, such as the end of their job, may soon kill this process or ask it to stop.
    time.sleep(_AFTERMATH_SECONDS)
    if (folder / "record.json").exists():
        return "done"
    if stop_asked():
        remove_beat(folder)
        return "stopped"
    how = f"{_how(status)}), which ended the others"
    if silent:
        how = (
            f"no sign of life from {', '.join(f'rank {rank}' for rank in silent)}), so the others were ended"
        )
    refusals = [line for line in said.splitlines() if "ranks were asked for" in line]
    reason = refusals[0] if refusals else f"one of its {desk.ranks} ranks died ({how}; what was stored stays"
    note_failure(folder, desk.session, reason, said)
    remove_beat(folder)
    return "failed"


def _how(status: int) -> str:
    """The exit status of a launcher in words: how a rank ended, as a shell tells it, or by a signal's number."""
    number = -status if status < 0 else status - 128 if status > 128 else status
    if number in set(signal.Signals):
        return f"status {status}, probably signal {signal.Signals(number).name}"
    return f"status {status}"


def _pass_on(stream: IO[str], said: deque[str], told: list[int]) -> None:
    """Print what ranks and launcher say, keep the last lines, and hear how the cell ended."""
    for line in stream:
        if line.startswith(_ENDED):
            told.append(int(line.removeprefix(_ENDED)))
            continue
        said.append(line)
        print(line, end="", file=sys.stderr, flush=True)


def _program(name: str) -> str | None:
    """The path of a program, found on PATH or in the environment of this interpreter."""
    beside = Path(sys.executable).parent / name
    return shutil.which(name) or (str(beside) if beside.is_file() else None)


def main(what: str, argument: str) -> int:
    """Be one rank: "check" the size of the world, or work on the "cell" of a RankTask. Returns the exit status."""
    try:
        if what == "check":
            MPIRanks(int(argument)).gather(None)
            return 0
        task = RankTask.model_validate_json(argument)
        return _be_rank(task, MPIRanks(task.ranks))
    except RanksUnavailable as problem:
        print(problem, file=sys.stderr, flush=True)
        return _UNAVAILABLE_STATUS


def _be_rank(task: RankTask, ranks: MPIRanks) -> int:
    """Work on a cell as one of its ranks; the first one tells the outcome. Returns 0."""
    beat_as_rank(task.folder, ranks.rank)
    ranks.bind_gpu()
    _warn_of_few_cores(task, ranks)
    if task.in_job:
        listen()
    desk = Desk(task.directory, task.session, task.threads, task.references, task.in_job)
    reason = ""
    try:
        if ranks.rank == 0:
            threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
            outcome = run_cell(task.folder, desk, ranks)
            _tell(_STOPPED_STATUS + (stop_asked() or 0) if outcome == "stopped" else _STATUS[outcome])
            return 0
        assist(task.folder, desk, ranks)
    except DiskFull:
        _tell(_DISK_FULL_STATUS)
    except (Dismissed, RankFailed):
        pass
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
    finally:
        ranks.end(reason)
    return 0


def _tell(status: int) -> None:
    """Pass on how the cell ended: by a line, since a launcher's status is the worst of all ranks."""
    print(f"{_ENDED}{status}", file=sys.stderr, flush=True)


def _stop_at_end_of_input() -> None:
    # Not by sys.stdin, whose lock would not let the process end.
    while os.read(0, 1024):
        pass
    note(signal.SIGTERM)


def _warn_of_few_cores(task: RankTask, ranks: MPIRanks) -> None:
    cores = len(os.sched_getaffinity(0))
    if cores < task.threads:
        print(
            f"warning: rank {ranks.rank} is bound to {cores} cores but has {task.threads} threads; "
            "tell the launcher not to bind, or to how many (mpirun: --bind-to none)",
            file=sys.stderr,
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
