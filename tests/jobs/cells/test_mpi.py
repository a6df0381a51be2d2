"""A cell over several ranks, with a real mpirun: the numbers of one rank, whatever dies on the way."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

from jobs.cells.failures import count_chunks, read_failure
from jobs.cells.launch import run_local
from jobs.cells.mpi import RanksUnavailable
from jobs.cells.plan import lay_out, plan_cells
from jobs.cells.pulse import BEAT_SECONDS
from jobs.cells.signals import stop_asked
from jobs.cells.spread import check_ranks, spread_cell
from jobs.cells.worker import Desk
from prosebench.record import cell_folders, read_provenance, read_record
from prosebench.store.storage import read_json
from prosebench.suite import load_suite
from tests.jobs.conftest import command, results, run

MPIRUN = shutil.which("mpirun") or str(Path(sys.executable).parent / "mpirun")
MISSING = [
    name for name, there in (("mpi4py", find_spec("mpi4py")), ("mpirun", shutil.which(MPIRUN))) if not there
]
needs_mpi = pytest.mark.skipif(bool(MISSING), reason=f"no {' and no '.join(MISSING)} on this machine")
# For Open MPI; MPICH asks for neither.
ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMP_NUM_THREADS": "1",
}
SUITE = """
name = "ranks"
peptides = ["AA"]
budgets = [1200]
frames = 60
[methods.replicas]
method = "md-replicas"
replicas = 6
minimise_steps = 5
chunk_evaluations = 240
[methods.tempering]
method = "parallel-tempering"
exchange_steps = 20
minimise_steps = 5
chunk_evaluations = 240
[methods.flow]
method = "prose-snis"
weights = "identity"
chunk_proposals = 500
batch = 64
[methods.improving]
method = "prose-self-improve"
weights = "breathing"
rounds = 1
steps = 3
tuning_batch = 130
learning_rate = 1e-3
chunk_proposals = 300
batch = 64
[methods.annealing]
method = "smc-ula"
proposal = "gaussian"
proposal_settings = {std_nm = 0.003}
start_below_kt = 1e6
steps = 4
chunk_evaluations = 400
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("suite") / "ranks.toml"
    path.write_text(SUITE)
    return path


@pytest.fixture(scope="module")
def alone(suite: Path) -> Path:
    """A run folder of the suite, done by one rank."""
    directory = suite.parent / "alone"
    run_local(lay_out(plan_cells(load_suite(str(suite))), directory), directory, workers=1)
    return directory


@pytest.fixture
def directory(suite: Path, alone: Path, tmp_path: Path) -> Path:
    """A run folder where nothing is done yet but the start structures."""
    lay_out(plan_cells(load_suite(str(suite))), tmp_path / "run")
    shutil.copytree(alone / "peptides", tmp_path / "run" / "peptides")
    return tmp_path / "run"


@needs_mpi
@pytest.mark.parametrize("ranks", [2, 4])
def test_records_are_those_of_one_rank(alone: Path, directory: Path, ranks: int) -> None:
    desk = Desk(directory, "test", ranks=ranks)
    # Four ranks of every method would be long on two cores, and show no more.
    folders = [folder for folder in cell_folders(directory) if ranks == 2 or "tempering" in folder.name]
    assert {spread_cell(folder, desk) for folder in folders} == {"done"}
    found, expected = results(directory), results(alone)
    assert found == {name: expected[name] for name in found}
    assert len(found) == 2 * len(folders) > 0
    assert {read_provenance(folder).ranks for folder in folders} == {ranks}


@pytest.fixture
def long_cell(unhurried: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A suite of one cell with many chunks, and the folder of that cell in a run folder."""
    monkeypatch.setenv("UNHURRIED_SECONDS", "0.2")
    suite, directory = tmp_path / "long.toml", tmp_path / "run"
    suite.write_text(
        'name = "long"\npeptides = ["AA"]\nbudgets = [120000]\nframes = 60\n[methods.replicas]\n'
        f'method = "{unhurried}"\nreplicas = 6\nminimise_steps = 5\nchunk_evaluations = 3000\n'
    )
    (folder,) = lay_out(plan_cells(load_suite(str(suite))), directory)
    return suite, folder


@needs_mpi
def test_a_dead_rank_ends_the_cell_and_other_numbers_of_ranks_continue_it(
    long_cell: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, folder = long_cell
    directory = tmp_path / "run"
    started = subprocess.Popen(
        command(suite, directory, "--ranks", "2", "--workers", "1"), stderr=subprocess.PIPE, text=True
    )
    _wait_for_chunks(folder, 3)
    victim = next(pid for pid in ranks_of(folder) if pid != read_json(folder / "heartbeat.json")["pid"])
    os.kill(victim, signal.SIGKILL)
    _, said = started.communicate(timeout=120)
    assert started.returncode == 1
    assert "one of its 2 ranks died" in said
    assert "SIGKILL" in said
    assert not ranks_of(folder)
    failure = read_failure(folder)
    assert failure is not None
    assert failure["attempts"] == 1

    # Whoever started the ranks is gone: they finish their chunk and leave the cell in good order.
    stored = count_chunks(folder)
    started = subprocess.Popen(
        command(suite, directory, "--ranks", "3", "--workers", "1"), start_new_session=True
    )
    _wait_for_chunks(folder, stored + 3)
    started.kill()
    started.wait()
    _wait_until(lambda: not ranks_of(folder))
    assert read_json(folder / "heartbeat.json")["stopped"]
    assert not (folder / "record.json").exists()

    monkeypatch.delenv("UNHURRIED_SECONDS")
    run_local([folder], directory, workers=1)
    alone = tmp_path / "alone"
    run_local(lay_out(plan_cells(load_suite(str(suite))), alone), alone, workers=1)
    assert results(directory) == results(alone)
    assert read_record(folder).ledger.sampling.evaluations == 120_000
    assert read_provenance(folder).sittings == 3


@needs_mpi
def test_a_rank_that_hangs_is_not_waited_for_without_end(
    long_cell: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The launcher sees nothing wrong with it.
    monkeypatch.setattr("jobs.cells.pulse.SILENT_SECONDS", 3 * BEAT_SECONDS)
    _, folder = long_cell
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(spread_cell, folder, Desk(tmp_path / "run", "test", ranks=2))
        _wait_for_chunks(folder, 3)
        first = read_json(folder / "heartbeat.json")["pid"]
        os.kill(next(pid for pid in ranks_of(folder) if pid != first), signal.SIGSTOP)
        assert ended.result(timeout=120) == "failed"
    failure = read_failure(folder)
    assert failure is not None
    assert "one of its 2 ranks died (no sign of life from rank 1)" in failure["reason"]
    _wait_until(lambda: not ranks_of(folder))
    assert not list(folder.glob(".rank-*"))


@pytest.mark.parametrize("status", [1, 64 + signal.SIGTERM, 127])
def test_a_launcher_that_fails_by_itself_asks_nobody_to_stop(
    directory: Path, tmp_path: Path, status: int
) -> None:
    launcher = tmp_path / "broken"
    launcher.write_text(f"#!/bin/sh\necho out of order >&2\nexit {status}\n")
    launcher.chmod(0o755)
    folder = cell_folders(directory)[0]
    assert spread_cell(folder, Desk(directory, "test", ranks=2, launcher=(str(launcher),))) == "failed"
    failure = read_failure(folder)
    assert failure is not None
    assert f"status {status}" in failure["reason"]
    assert "out of order" in failure["traceback"]
    assert stop_asked() is None


def _wait_for_chunks(folder: Path, number: int) -> None:
    _wait_until(lambda: count_chunks(folder) >= number)


def _wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.01)


def ranks_of(folder: Path) -> list[int]:
    """Processes that are ranks of a cell."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        is_rank = b"python" in words[0] and b"jobs.cells.spread" in words
        if is_rank and any(str(folder.resolve()).encode() in word for word in words):
            found.append(int(path.parent.name))
    return sorted(found)


PROGRAM = """
import os, sys
from jobs.cells.mpi import Dismissed, MPIRanks, RankFailed, RanksApart, agree
from prosebench.method import Chunk
import numpy as np

def say(text):  # one write: lines of ranks must not mix
    sys.stdout.write(text + "\\n"); sys.stdout.flush()

ranks = MPIRanks(int(sys.argv[1]))
ranks.bind_gpu()
say(f"gpu {ranks.rank} {os.environ['CUDA_VISIBLE_DEVICES']}")
same = Chunk(None, {"x": np.zeros(2)})
assert agree(ranks, same) is False
try:
    agree(ranks, Chunk(None, {"x": np.array([0.0, ranks.rank // 2])}))
except RanksApart as apart:
    say(f"apart {ranks.rank} {apart}")
try:
    if ranks.rank == 2:
        ranks.end("out of luck")
    else:
        ranks.gather(None)
except RankFailed as failed:
    say(f"failed {ranks.rank} {failed}")
"""


@needs_mpi
def test_ranks_that_fail_or_differ_are_told_of() -> None:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "3,5"}
    arguments = [MPIRUN, "-n", "4", sys.executable, "-c", PROGRAM, "4"]
    said = sorted(run(*arguments, env=environment).stdout.splitlines())
    assert said[:4] == [
        f"apart {rank} ranks [2, 3] computed another chunk than rank 0, so nothing was stored: are their CPUs or GPUs "
        "of different kinds? Ask for one kind (`constraint` of the cluster profile)"
        for rank in range(4)
    ]
    assert said[4:7] == [f"failed {rank} rank 2 of 4 ended: out of luck" for rank in (0, 1, 3)]
    assert said[7:] == ["gpu 0 3", "gpu 1 5", "gpu 2 3", "gpu 3 5"]


@needs_mpi
def test_worlds_of_one_rank_are_refused(directory: Path, tmp_path: Path) -> None:
    # As `srun --mpi=none` does: several processes that know nothing of each other.
    foreign = tmp_path / "foreign-mpirun"
    foreign.write_text(
        '#!/bin/sh\nshift 2\n"$@" </dev/null & "$@" </dev/null; status=$?; wait; exit $status\n'
    )
    foreign.chmod(0o755)
    with pytest.raises(RanksUnavailable, match=r"2 ranks were asked for, but .* a world of 1: .*--mpi"):
        check_ranks(2, (str(foreign),))
    folder = cell_folders(directory)[0]
    assert spread_cell(folder, Desk(directory, "test", ranks=2, launcher=(str(foreign),))) == "failed"
    failure = read_failure(folder)
    assert failure is not None
    assert "a world of 1" in failure["reason"]


def test_what_is_missing_is_said_before_anything_starts(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RanksUnavailable, match="at least one rank"):
        check_ranks(0, ("mpirun",))
    check_ranks(1, ("no-such-mpirun",))
    if "mpi4py" in MISSING:
        with pytest.raises(RanksUnavailable, match=r"mpi4py is not installed; .*pip install"):
            check_ranks(2, ("mpirun",))
    else:
        with pytest.raises(RanksUnavailable, match="there is no 'no-such-mpirun' here"):
            check_ranks(2, ("no-such-mpirun",))
    refused = run(*command(suite, tmp_path / "run", "--ranks", "0"), check=False)
    assert refused.returncode == 2
    assert "--ranks 0: should be greater than or equal to 1" in refused.stderr
    assert not (tmp_path / "run").exists()


def test_a_launcher_that_never_answers_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = tmp_path / "stuck"
    launcher.write_text("#!/bin/sh\nexec sleep 60\n")
    launcher.chmod(0o755)
    monkeypatch.setattr("jobs.cells.spread._CHECK_SECONDS", 0.5)
    with pytest.raises(RanksUnavailable, match=r"did not bring them together in 0\.5 s; does `.*stuck -n 2"):
        check_ranks(2, (str(launcher),))
