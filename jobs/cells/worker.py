"""The worker: takes a cell, runs it chunk by chunk, and leaves its record."""

import errno
import math
import os
import platform
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from jobs.cells.chunks import Overtaken, StoredChunk, extend, read_chain, write_chunk
from jobs.cells.failures import forget_failure, note_death, note_failure, parked
from jobs.cells.heartbeat import Heartbeat, read_beat, remove_beat, worked_elsewhere
from jobs.cells.mpi import agree
from jobs.cells.prepare import force_field_hash, prepare, start_hash
from jobs.cells.signals import stop_asked
from prosebench.energy.gate import pass_gate
from prosebench.energy.meter import Account, BudgetExhausted, Clock, Ledger, Meter, count_calls
from prosebench.energy.settings import make_target
from prosebench.energy.sharded import ShardedTarget
from prosebench.energy.target import Description
from prosebench.ensemble import concatenate, tidied
from prosebench.flows.gpus import allocations, used_since
from prosebench.machine.build_info import code_commit, instructions
from prosebench.method import Carry, Chunk, Method, Run, check_chunk, load_method
from prosebench.ranks import ALONE, Ranks
from prosebench.record import Cell, Provenance, Record, read_cell, write_record
from prosebench.reference import known_reference
from prosebench.store.fields import one_line
from prosebench.store.locks import file_lock
from prosebench.store.storage import TEMPORARY_SUFFIX

Outcome = Literal["done", "failed", "locked", "stopped"]
_STALE_SECONDS = 3600.0
_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)
_VERSIONED = ("prosebench", "numpy", "openmm", "torch")


class Stopped(Exception):
    """The worker was asked to stop; what is stored is the beginning of the next sitting."""


class DiskFull(OSError):
    """Nothing more can be written; no cell is to blame, and the same command continues once there is room."""


@dataclass(frozen=True)
class Desk:
    """Where a worker works: the run folder, its session, its threads, and where references may lie.

    in_job says that the worker is part of a scheduler's job: signals ask it to stop. With ranks, each cell spans so
    many processes of `threads` threads, which launcher starts (`jobs.cells.spread`).
    """

    directory: Path
    session: str
    threads: int = 1
    reference_folders: tuple[Path, ...] = ()
    in_job: bool = False
    ranks: int = 1
    launcher: tuple[str, ...] = ("mpirun",)


def run_cell(folder: Path, desk: Desk, ranks: Ranks = ALONE) -> Outcome:
    """Finish a cell, from where it stands; of several ranks the first one is to call this, the others `assist`.

    "failed": it raised and left failure.json. "locked": somebody else is on it. "stopped": this process was asked to
    stop, and did so after a chunk. Raises DiskFull.
    """
    # Without locks, signs of life keep workers apart; should two of them still meet, a chunk is written once, and the
    # second worker leaves (`Overtaken`).
    with file_lock(folder / "lock") as mine:
        if not mine or worked_elsewhere(read_beat(folder)):
            return "locked"
        if (folder / "record.json").exists():
            return "done"
        note_death(folder)
        if parked(folder):
            return "failed"
        _sweep(folder)
        try:
            _work(folder, desk, ranks)
        except Stopped:
            return "stopped"
        except Overtaken as overtaken:
            print(f"{folder.name}: {overtaken}", flush=True)
            return "locked"
        except Exception as error:
            if (folder / "record.json").exists():
                return "done"
            if isinstance(error, OSError) and error.errno in _DISK_IS_FULL:
                raise DiskFull(error.errno, f"no room left on the disk of {folder}") from error
            note_failure(folder, desk.session, f"{type(error).__name__}: {error}", traceback.format_exc())
            return "failed"
        forget_failure(folder)
        return "done"


def _sweep(folder: Path) -> None:
    """Remove what a killed worker was in the midst of writing: all from this machine, and what is old from others."""
    here = f".{socket.gethostname()}-"
    for path in folder.rglob(f"*{TEMPORARY_SUFFIX}"):
        if here in path.name or time.time() - path.stat().st_mtime > _STALE_SECONDS:
            path.unlink(missing_ok=True)


def assist(folder: Path, desk: Desk, ranks: Ranks) -> None:
    """Be one of the further ranks of a cell: run the same chunks as the first, and store nothing."""
    _, run, method, _, books = _set_up(folder, desk, ranks)
    index, carry, ledger, done = ranks.gather(None)[0]
    books.begin(ledger)
    while not done:
        chunk = _next_chunk(method, run, index, carry, books)
        if agree(ranks, chunk):
            return
        index, carry, done = index + 1, chunk.carry, chunk.done


def _work(folder: Path, desk: Desk, ranks: Ranks) -> None:
    before = allocations()
    cell, run, method, record, books = _set_up(folder, desk, ranks)
    chain, warnings = read_chain(folder / "chunks", cell.id, desk.directory / "set-aside")
    for warning in warnings:
        print(f"warning: {warning}", flush=True)
    if chain:
        books.begin(chain[-1].ledger)
    reason = method.skip(run)
    if reason:
        skipped = record.model_copy(update={"status": "skipped", "reason": one_line(reason)})
        _leave(folder, skipped, chain, Hardware("cpu", ranks.size, desk.threads))
        return
    ranks.gather(_beginning(chain, books))
    with Heartbeat(folder, desk.session, books.account, cell.budgets[-1], len(chain)) as heartbeat:
        _continue(folder, cell, run, method, chain, heartbeat, books)
        device = _device(_hardware(record.target), used_since(before))
        _leave(folder, record, chain, Hardware(device, ranks.size, desk.threads))
    remove_beat(folder)


def _beginning(chain: list[StoredChunk], books: "Books") -> tuple[int, Carry, Ledger, bool]:
    """What the further ranks need to go on after the stored chain: see `assist`."""
    last = chain[-1].chunk if chain else Chunk(ensemble=None, carry={})
    return len(chain), last.carry, books.account.ledger, last.done


@dataclass
class Books:
    """What a worker knows of a cell's cost by itself; the method has no way to them.

    account is that of the method's meter. asked tells how many evaluations the target itself has been asked for since
    this process has had it; earlier is what was spent before.
    """

    account: Account
    asked: Callable[[], int]
    earlier: int = 0

    def begin(self, ledger: Ledger) -> None:
        """Go on from the ledger of the last chunk that is stored."""
        self.account.ledger = ledger.model_copy(deep=True)
        self.earlier = self._booked

    @property
    def spent(self) -> int:
        """The evaluations of sampling that were spent so far."""
        return self.account.ledger.sampling.evaluations

    @property
    def _booked(self) -> int:
        return self.spent + self.account.ledger.preparation.evaluations

    def check(self, declared: int) -> None:
        """Raise ValueError unless the meter has seen all evaluations, and preparation is what was declared at most."""
        metered = self._booked - self.earlier
        if metered != self.asked():
            raise ValueError(
                f"the target was asked for {self.asked()} evaluations, but the meter counted {metered}: energies of a "
                "run come through run.meter alone"
            )
        prepared = self.account.ledger.preparation.evaluations
        if prepared > declared:
            raise ValueError(
                f"{prepared} evaluations were spent on preparation, but preparation() declares {declared} at most"
            )


def _set_up(folder: Path, desk: Desk, ranks: Ranks) -> tuple[Cell, Run, Method, Record, Books]:
    """A cell, what its method is given, the method, what the record knows before the first chunk, and the books."""
    cell = read_cell(folder)
    reference_path = known_reference(cell.peptide, desk.reference_folders, cell.target.temperature_kelvin)
    peptide, gate = prepare(desk.directory, cell.peptide, cell.target, reference_path)
    target = make_target(peptide, cell.target, desk.threads)
    deviation = pass_gate(gate, target)
    counted, asked = count_calls(target if ranks.size == 1 else ShardedTarget(target, ranks))
    books = Books(Account(), asked)
    run = Run(
        cell_id=cell.id,
        peptide=peptide,
        meter=Meter(counted, cell.budgets[-1], books.account),
        budgets=cell.budgets,
        frames=cell.frames,
        reference_path=reference_path,
        ranks=ranks,
    )
    record = Record(
        cell_id=cell.id,
        cell=cell,
        status="done",
        force_field_hash=force_field_hash(peptide, cell.target),
        start_hash=start_hash(peptide),
        target=target.describe(),
        gate_deviation_kj_mol=deviation,
        versions=versions(),
    )
    loaded = load_method(cell.method)
    return cell, run, loaded(loaded.Settings(**cell.settings)), record, books


def versions() -> dict[str, str]:
    """The versions of the packages that decide numbers."""
    return {name: version(name) for name in _VERSIONED} | {"python": platform.python_version()}


def _continue(
    folder: Path,
    cell: Cell,
    run: Run,
    method: Method,
    chain: list[StoredChunk],
    heartbeat: Heartbeat,
    books: Books,
) -> None:
    """Run chunks and store each, until the method is done or the budget is spent; extends the chain."""
    sitting = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}"
    parent = os.getppid()
    while not (chain and chain[-1].chunk.done):
        index = len(chain)
        carry = chain[-1].chunk.carry if chain else {}
        account = books.account
        account.clock = Clock()
        with run.meter.phase("sampling"):
            chunk = _next_chunk(method, run, index, carry, books)
        stop = agree(run.ranks, chunk)
        stored = StoredChunk(chunk, account.ledger.model_copy(deep=True), asdict(account.clock), sitting)
        write_chunk(folder / "chunks", cell.id, index, stored)
        extend(chain, stored)
        heartbeat.stored(len(chain))
        if (folder / "record.json").exists():
            raise Overtaken("its record is there already: another worker has finished it")
        # A first rank that is asked only now dismisses the others.
        if (stop or stop_asked()) and not chunk.done:
            raise Stopped
        if os.getppid() != parent:
            raise SystemExit(
                "the process that started this worker is gone; the cell continues at the next run"
            )


def _next_chunk(method: Method, run: Run, index: int, carry: Carry, books: Books) -> Chunk:
    """What the method returns, once it is sure that the books and the frames' claims are in order."""
    before, name = books.spent, type(method).__name__
    try:
        chunk = method.chunk(run, index, carry)
    except BudgetExhausted:
        # What earlier chunks kept stays; the ledger shows the whole budget spent.
        chunk = Chunk(ensemble=None, carry={}, done=True)
    except SystemExit as error:
        raise RuntimeError(
            f"method {name} called sys.exit({error.code!r}); a method returns chunks"
        ) from error
    try:
        check_chunk(chunk, before, books.spent, run.peptide.n_atoms)
        books.check(method.preparation(run))
    except ValueError as error:
        raise ValueError(f"method {name}: {error}") from error
    return replace(chunk, done=chunk.done or books.spent >= run.budgets[-1])


@dataclass(frozen=True)
class Hardware:
    """What a cell was done on: on which device, by how many ranks, and with how many threads each."""

    device: str
    ranks: int
    threads: int


def _hardware(target: Description) -> str:
    """The hardware that computed the energies, in words, as far as the target tells it."""
    device, name = str(target.get("device", "cpu")), target.get("hardware")
    return f"{device}: {name}" if name and device != "cpu" else device


def _device(of_target: str, gpus: Sequence[int]) -> str:
    """The hardware that computed a cell, in words: what the target says, and the GPUs on which torch was at
    work; or the CPU."""
    if not gpus and not of_target.startswith("cuda"):
        return of_target
    from prosebench.flows.device import describe_device

    found = [describe_device(f"cuda:{index}") for index in gpus]
    return (
        "; ".join(dict.fromkeys([*([] if of_target in ("cpu", "cuda") else [of_target]), *found]))
        or of_target
    )


def _leave(folder: Path, record: Record, chain: list[StoredChunk], hardware: Hardware) -> None:
    """Write ensemble, provenance and record, in this order, then remove the chunks they were made from."""
    parts = [stored.chunk.ensemble for stored in chain if stored.chunk.ensemble is not None]
    if record.status == "done":
        if not parts:
            raise RuntimeError("the method ended without a single frame")
        ensemble = tidied(concatenate(parts))
        digest = ensemble.save(folder / "ensemble.npz")
        names = sorted({name for stored in chain for name in stored.chunk.diagnostics})
        record = record.model_copy(
            update={
                "ledger": chain[-1].ledger,
                "frames": len(ensemble),
                "chunks": len(chain),
                "ensemble_sha256": digest,
                "diagnostics": {
                    name: [number for stored in chain for number in _numbers(stored.chunk, name)]
                    for name in names
                },
            }
        )
    provenance = _provenance(folder, chain, hardware)
    write_record(folder, record, provenance)
    for path in sorted((folder / "chunks").iterdir()) if (folder / "chunks").is_dir() else []:
        path.unlink(missing_ok=True)


def _numbers(chunk: Chunk, name: str) -> list[float | None]:
    """A diagnostic of a chunk: one number, or several; None for a number that is missing or not finite."""
    said = chunk.diagnostics.get(name)
    numbers = list(said) if isinstance(said, Sequence) else [said]
    return [None if number is None or not math.isfinite(number) else float(number) for number in numbers]


def _provenance(folder: Path, chain: list[StoredChunk], hardware: Hardware) -> Provenance:
    phases = chain[0].seconds if chain else {}
    return Provenance(
        host=one_line(socket.gethostname()),
        device=one_line(hardware.device),
        commit=code_commit(),
        started=datetime.fromtimestamp((folder / "cell.json").stat().st_mtime, UTC).isoformat(
            timespec="seconds"
        ),
        finished=_now(),
        sittings=len({stored.sitting for stored in chain}),
        ranks=hardware.ranks,
        threads=hardware.threads,
        instructions=one_line(instructions()),
        seconds={phase: round(sum(stored.seconds[phase] for stored in chain), 6) for phase in phases},
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
