"""A run that is killed again and again ends with the same records, bit for bit, as one that is left alone."""

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from prosebench.record import cell_folders, read_provenance, read_record
from tests.conftest import PLUGIN
from tests.jobs.conftest import command, results, run

KILLS = 50
EARLY_EVERY = 5
"""One kill in five comes while the run plans and starts its workers, the others while cells are at work."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """The suite of the kill test, and the results of a run of it that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    suite = folder / "kill.toml"
    suite.write_text(
        'name = "kill"\npeptides = ["AA", "SS"]\nbudgets = [1000, 60000]\nframes = 500\n[target]\nengine = "openmm"\n'
        '[methods.md]\nmethod = "unhurried-md"\nwarm_up_ps = 1.0\nchunk_steps = 500\n'
    )
    run(*command(suite, folder / "run"), env=os.environ | {"PYTHONPATH": str(PLUGIN), "OMP_NUM_THREADS": "1"})
    return suite, results(folder / "run")


@pytest.fixture(autouse=True)
def _at_leisure(unhurried: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast a machine is, the 120 chunks of a cell take some sittings."""
    monkeypatch.setenv("UNHURRIED_SECONDS", "0.05")


def _copy_start(undisturbed: Path, directory: Path) -> None:
    """Minimised starts, once made, are part of the run folder; both runs must begin at the same one."""
    (directory / "peptides").mkdir(parents=True)
    for path in (undisturbed / "peptides").iterdir():
        (directory / "peptides" / path.name).write_bytes(path.read_bytes())


def test_fifty_kills_change_nothing(
    undisturbed: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, expected = undisturbed
    directory = tmp_path / "run"
    _copy_start(suite.parent / "run", directory)
    moments = random.Random(0)
    for kill in range(KILLS):
        process = subprocess.Popen(
            command(suite, directory),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if kill % EARLY_EVERY == 0:
            time.sleep(moments.uniform(0.1, 2.0))
        else:
            _wait_for_work(directory, process)
            time.sleep(moments.uniform(0.0, 0.6))
        with contextlib.suppress(ProcessLookupError):  # a run that has ended by itself is gone already
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    monkeypatch.delenv("UNHURRIED_SECONDS")
    run(*command(suite, directory))
    assert results(directory) == expected
    sittings = [read_provenance(folder).sittings for folder in cell_folders(directory)]
    assert max(sittings) >= KILLS // 5, f"the kills hit too few chunks: {sittings}"
    for folder in cell_folders(directory):
        assert read_record(folder).ledger.sampling.evaluations == 60_000


def _wait_for_work(directory: Path, process: subprocess.Popen[bytes]) -> None:
    """Until the run has stored something new, or ended."""
    before = _newest(directory)
    while process.poll() is None and _newest(directory) == before:
        time.sleep(0.02)


def _newest(directory: Path) -> int:
    times = []
    for path in directory.glob("cells/*/**/*"):
        with contextlib.suppress(FileNotFoundError):
            times.append(path.stat().st_mtime_ns)
    return max(times, default=0)


def test_ctrl_c_stops_at_once_and_the_same_command_continues(
    undisturbed: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, expected = undisturbed
    directory = tmp_path / "run"
    _copy_start(suite.parent / "run", directory)
    process = subprocess.Popen(
        command(suite, directory),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
        # As at a terminal: a shell's background jobs, and so these tests in one, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not list(directory.glob("cells/*/chunks/*.npz")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=90)
    assert process.returncode == 130
    assert "the same command continues" in said
    monkeypatch.delenv("UNHURRIED_SECONDS")
    run(*command(suite, directory))
    assert results(directory) == expected


def test_two_runs_on_one_folder_share_the_work(
    undisturbed: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    suite, expected = undisturbed
    directory = tmp_path / "run"
    _copy_start(suite.parent / "run", directory)
    both = [subprocess.Popen(command(suite, directory), stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    assert results(directory) == expected
    assert [read_provenance(folder).sittings for folder in cell_folders(directory)] == [1, 1]
    assert not (directory / "set-aside").exists()
