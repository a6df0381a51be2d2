"""The worker: takes a cell, runs it chunk by chunk, and leaves its record."""

import os
import platform
import socket
import subprocess
import time
import traceback
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from jobs.chunks import StoredChunk, read_chain, write_chunk
from jobs.locks import cell_lock
from jobs.prepare import force_field_hash, prepare, start_hash
from prosebench.energy.gate import pass_gate
from prosebench.energy.meter import BudgetExhausted, Clock, Ledger, Meter
from prosebench.energy.settings import make_target
from prosebench.ensemble import concatenate
from prosebench.method import Carry, Chunk, Method, Run, load_method
from prosebench.record import Cell, Provenance, Record, read_cell
from prosebench.reference import find_reference
from prosebench.storage import TEMPORARY_SUFFIX, read_json, write_json

Outcome = Literal["done", "failed", "locked"]
MAX_ATTEMPTS = 3
_VERSIONED = ("prosebench", "numpy", "openmm", "torch")


@dataclass(frozen=True)
class Desk:
    """Where a worker works: the run folder, its session, its threads, and where references may lie."""

    directory: Path
    session: str
    threads: int = 1
    reference_folders: tuple[Path, ...] = ()


def run_cell(folder: Path, desk: Desk) -> Outcome:
    """Finish a cell, from where it stands. A cell that raises leaves failure.json and does not stop the others."""
    with cell_lock(folder) as mine:
        if not mine:
            return "locked"
        if (folder / "record.json").exists():
            return "done"
        _sweep(folder)
        try:
            _work(folder, desk)
        except Exception as error:
            note_failure(folder, desk.session, f"{type(error).__name__}: {error}", traceback.format_exc())
            return "failed"
        (folder / "failure.json").unlink(missing_ok=True)
        return "done"


def _sweep(folder: Path) -> None:
    """Remove what a killed worker was in the midst of writing; only the holder of the lock writes here."""
    for path in folder.rglob(f"*{TEMPORARY_SUFFIX}"):
        path.unlink()


def note_failure(folder: Path, session: str, reason: str, trace: str = "") -> None:
    """Write down that a cell failed, and how often it has."""
    path = folder / "failure.json"
    attempts = read_json(path)["attempts"] + 1 if path.exists() else 1
    write_json(
        path,
        {
            "attempts": attempts,
            "reason": reason,
            "traceback": trace,
            "session": session,
            "host": socket.gethostname(),
            "time": _now(),
            "time_unix": time.time(),
        },
    )


def may_run(folder: Path, session: str) -> bool:
    """Whether a worker of this session should take the cell: not finished, not failed in this session, not parked."""
    if (folder / "record.json").exists():
        return False
    if not (folder / "failure.json").exists():
        return True
    failure = read_json(folder / "failure.json")
    return failure["session"] != session and failure["attempts"] < MAX_ATTEMPTS


def _work(folder: Path, desk: Desk) -> None:
    cell = read_cell(folder)
    peptide, gate = prepare(desk.directory, cell.peptide, cell.target)
    target = make_target(peptide, cell.target, desk.threads)
    deviation = pass_gate(gate, target)
    chain, warnings = read_chain(folder / "chunks", cell.id, desk.directory / "set-aside")
    for warning in warnings:
        print(f"warning: {warning}", flush=True)
    ledger = chain[-1].ledger.model_copy(deep=True) if chain else Ledger()
    meter = Meter(target, cell.budgets[-1], ledger)
    run = Run(
        cell_id=cell.id,
        peptide=peptide,
        meter=meter,
        budgets=cell.budgets,
        frames=cell.frames,
        reference_path=_reference_path(cell.peptide, desk),
    )
    record = Record(
        cell_id=cell.id,
        cell=cell,
        status="done",
        force_field_hash=force_field_hash(peptide, cell.target),
        start_hash=start_hash(peptide),
        target=target.describe(),
        gate_deviation_kj_mol=deviation,
        versions={name: version(name) for name in _VERSIONED} | {"python": platform.python_version()},
    )
    loaded = load_method(cell.method)
    method = loaded(loaded.Settings(**cell.settings))
    reason = method.skip(run)
    if reason:
        _leave(folder, record.model_copy(update={"status": "skipped", "reason": reason}), chain)
        return
    _continue(folder, cell, run, method, chain)
    _leave(folder, record, chain)


def _reference_path(sequence: str, desk: Desk) -> Path | None:
    try:
        return find_reference(sequence, desk.reference_folders)
    except FileNotFoundError:
        return None


def _continue(folder: Path, cell: Cell, run: Run, method: Method, chain: list[StoredChunk]) -> None:
    """Run chunks and store each, until the method is done or the budget is spent; extends the chain."""
    sitting = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}"
    parent = os.getppid()
    _beat(folder, run.meter, len(chain))
    while not (chain and chain[-1].chunk.done):
        index = len(chain)
        carry = chain[-1].chunk.carry if chain else {}
        run.meter.clock = Clock()
        with run.meter.phase("sampling"):
            chunk = _next_chunk(method, run, index, carry)
        stored = StoredChunk(chunk, run.meter.ledger.model_copy(deep=True), asdict(run.meter.clock), sitting)
        write_chunk(folder / "chunks", cell.id, index, stored)
        chain.append(stored)
        _beat(folder, run.meter, index + 1)
        if os.getppid() != parent:
            raise SystemExit(
                "the process that started this worker is gone; the cell continues at the next run"
            )


def _next_chunk(method: Method, run: Run, index: int, carry: Carry) -> Chunk:
    try:
        chunk = method.chunk(run, index, carry)
    except BudgetExhausted:
        # What earlier chunks kept stays; the ledger shows the whole budget spent.
        return Chunk(ensemble=None, carry={}, done=True)
    if chunk.ensemble is not None and chunk.ensemble.evaluations is None:
        raise TypeError(
            f"method {type(method).__name__} returned frames without `evaluations`; see prosebench.method.Chunk"
        )
    return replace(chunk, done=chunk.done or run.meter.remaining <= 0)


def _leave(folder: Path, record: Record, chain: list[StoredChunk]) -> None:
    """Write ensemble, provenance and record, in this order, then remove the chunks they were made from."""
    parts = [stored.chunk.ensemble for stored in chain if stored.chunk.ensemble is not None]
    if record.status == "done":
        if not parts:
            raise RuntimeError("the method ended without a single frame")
        ensemble = concatenate(parts)
        digest = ensemble.save(folder / "ensemble.npz")
        names = sorted({name for stored in chain for name in stored.chunk.diagnostics})
        record = record.model_copy(
            update={
                "ledger": chain[-1].ledger,
                "frames": len(ensemble),
                "chunks": len(chain),
                "ensemble_sha256": digest,
                "diagnostics": {
                    name: [stored.chunk.diagnostics.get(name) for stored in chain] for name in names
                },
            }
        )
    write_json(folder / "provenance.json", _provenance(folder, record, chain).model_dump(mode="json"))
    write_json(folder / "record.json", record.model_dump(mode="json"))
    for path in sorted((folder / "chunks").iterdir()) if (folder / "chunks").is_dir() else []:
        path.unlink()
    (folder / "heartbeat.json").unlink(missing_ok=True)


def _provenance(folder: Path, record: Record, chain: list[StoredChunk]) -> Provenance:
    phases = chain[0].seconds if chain else {}
    return Provenance(
        host=socket.gethostname(),
        device=str(record.target.get("device", "cpu")),
        commit=code_commit(),
        started=datetime.fromtimestamp((folder / "cell.json").stat().st_mtime, UTC).isoformat(
            timespec="seconds"
        ),
        finished=_now(),
        sittings=len({stored.sitting for stored in chain}),
        seconds={phase: round(sum(stored.seconds[phase] for stored in chain), 6) for phase in phases},
    )


def code_commit() -> str:
    """Commit of the source tree that prosebench runs from, "-dirty" behind it where files differ; or its version."""
    home = Path(__file__).resolve().parent.parent
    described = subprocess.run(
        ["git", "-C", str(home), "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() if described.returncode == 0 else f"prosebench {version('prosebench')}"


def _beat(folder: Path, meter: Meter, chunks: int) -> None:
    write_json(
        folder / "heartbeat.json",
        {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "time": time.time(),
            "chunks": chunks,
            "sampling": meter.ledger.sampling.evaluations,
            "preparation": meter.ledger.preparation.evaluations,
            "budget": meter.budget,
        },
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
