"""A run that is killed again and again ends with the same records, bit for bit, as one that is left alone."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from prosebench.record import cell_folders, read_provenance, read_record
from tests.jobs.conftest import command, results, run

KILLS = 50
LONGEST_SECONDS = 4.0
"""A fresh process needs about two seconds before its first chunk; later moments hit chunks, finishes and gaps."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """The suite of the kill test, and the results of a run of it that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    suite = folder / "kill.toml"
    suite.write_text(
        'name = "kill"\npeptides = ["AA", "SS"]\nbudgets = [1000, 20000]\nframes = 500\n[target]\nengine = "openmm"\n'
        "[methods.md]\nwarm_up_ps = 1.0\nchunk_steps = 500\n"
    )
    started = time.monotonic()
    run(*command(suite, folder / "run"))
    (folder / "seconds").write_text(f"{time.monotonic() - started:.3f}")
    return suite, results(folder / "run")


def _copy_start(undisturbed: Path, directory: Path) -> None:
    """Minimised starts, once made, are part of the run folder; both runs must begin at the same one."""
    (directory / "peptides").mkdir(parents=True)
    for path in (undisturbed / "peptides").iterdir():
        (directory / "peptides" / path.name).write_bytes(path.read_bytes())


def test_fifty_kills_change_nothing(undisturbed: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    suite, expected = undisturbed
    directory = tmp_path / "run"
    _copy_start(suite.parent / "run", directory)
    # The later moments hit chunks and finishes, on a slow machine as on a fast one.
    longest = max(LONGEST_SECONDS, float((suite.parent / "seconds").read_text()))
    moments = random.Random(0)
    for _ in range(KILLS):
        process = subprocess.Popen(
            command(suite, directory),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(moments.uniform(0.3, longest))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    run(*command(suite, directory))
    assert results(directory) == expected
    sittings = [read_provenance(folder).sittings for folder in cell_folders(directory)]
    assert max(sittings) > 2, f"the kills hit no chunk: {sittings}"
    for folder in cell_folders(directory):
        assert read_record(folder).ledger.sampling.evaluations == 20_000


def test_ctrl_c_stops_at_once_and_the_same_command_continues(
    undisturbed: tuple[Path, dict[str, bytes]], tmp_path: Path
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
    )
    while not list(directory.glob("cells/*/chunks/*.npz")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "the same command continues" in said
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
