"""`prosebench run` and `status` as a user meets them: failing cells, damaged files, dead workers."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from jobs.cells.launch import run_local
from jobs.cells.plan import lay_out, plan_cells
from jobs.cells.status import read_states
from prosebench.record import cell_folders, read_record
from prosebench.suite import load_suite
from tests.jobs.conftest import command, results, run


def test_a_run_leaves_records_and_a_second_one_does_nothing(small_suite: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    said = run(*command(small_suite, directory)).stdout
    assert "2/2 cells ended" in said
    for folder in cell_folders(directory):
        record = read_record(folder)
        assert record.ledger.sampling.evaluations == 1500
        assert record.ledger.preparation.evaluations >= 200
        ensemble = record.load_ensemble(folder)
        assert ensemble.evaluations is not None
        assert {300, 1500} <= set(ensemble.evaluations.tolist())
        assert record.target["platform"] == "CPU"
        assert record.gate_deviation_kj_mol < 5e-3
        assert not list((folder / "chunks").iterdir())
    before = {path: path.stat().st_mtime_ns for path in directory.glob("cells/*/*") if path.name != "lock"}
    run(*command(small_suite, directory))
    assert before == {
        path: path.stat().st_mtime_ns for path in directory.glob("cells/*/*") if path.name != "lock"
    }


def test_a_failing_cell_becomes_a_reason_and_the_others_go_on(small_suite: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    # Ten femtoseconds are too long for flexible bonds to hydrogen: the trajectory blows up.
    more = ("--set", "slow.time_step_fs=10.0")
    for attempt in (1, 2, 3):
        done = run(*command(small_suite, directory, *more), check=False)
        assert done.returncode == 1
        assert "left finite numbers" in done.stderr
        assert f"attempt {attempt}" in done.stderr
    states = {state.cell.row: state.state for state in read_states(directory)}
    assert states == {"md": "done", "slow": "parked"}
    again = run(*command(small_suite, directory, *more, "--retry-parked"), check=False)
    assert "attempt 1" in again.stderr
    shown = run("prosebench", "status", str(directory)).stdout
    assert "left finite numbers" in shown


def test_a_worker_that_is_killed_is_replaced_and_its_cell_marked(
    small_suite: Path, tmp_path: Path, unhurried: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "run"
    # However fast a machine is, the worker is there when the signal comes.
    monkeypatch.setenv("UNHURRIED_SECONDS", "0.05")
    md = f'[methods.md]\nmethod = "{unhurried}-md"'
    small_suite.write_text(small_suite.read_text().replace("[methods.md]", md))
    process = subprocess.Popen(
        command(small_suite, directory, "--budgets", "20000", "--workers", "1", "--methods", "md"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    beats = []
    while not beats:
        time.sleep(0.05)
        beats = list(directory.glob("cells/*/heartbeat.json"))
    os.kill(json.loads(beats[0].read_text())["pid"], signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "its worker process ended by signal SIGKILL" in said
    monkeypatch.delenv("UNHURRIED_SECONDS")
    run(*command(small_suite, directory, "--budgets", "20000", "--methods", "md"))
    assert [state.state for state in read_states(directory)] == ["done"]


def test_workers_that_cannot_start_are_not_started_for_ever(
    small_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = lay_out(plan_cells(load_suite(str(small_suite))), tmp_path / "run")
    monkeypatch.setattr("jobs.cells.launch.work", os._exit)  # fails at once: it takes no cells
    with pytest.raises(ChildProcessError, match="ended before they were on a cell"):
        run_local(folders, tmp_path / "run", workers=1)


def test_damaged_and_foreign_files_are_named_and_set_aside(small_suite: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    run(*command(small_suite, directory))
    expected = results(directory)
    one, two = cell_folders(directory)
    (one / "ensemble.npz").write_bytes((one / "ensemble.npz").read_bytes()[:-100])
    (two / "record.json").write_text('{"schema_version": 1')
    (directory / "cells" / "notes.txt").write_text("mine")
    (directory / "cells" / "somebody-elses").mkdir()
    done = run(*command(small_suite, directory))
    for name in ("ensemble.npz has changed", "record.json is not a JSON file", "notes.txt", "somebody-elses"):
        assert name in done.stderr
    assert results(directory) == expected
    assert len(list((directory / "set-aside").iterdir())) == 4


def test_a_run_folder_can_be_read_by_whom_the_umask_lets(small_suite: Path, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        folders = lay_out(plan_cells(load_suite(str(small_suite))), tmp_path / "run")
    finally:
        os.umask(before)
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o755}


def test_the_plan_of_a_local_run_is_shown_and_nothing_is_written(small_suite: Path, tmp_path: Path) -> None:
    directory = tmp_path / "new" / "run"
    said = run(*command(small_suite, directory, "--dry-run", "--workers", "2")).stdout
    assert "0 cells finished, 0 parked, 2 to run" in said
    assert "2 cells: 3,000 evaluations, about " in said
    assert "the time of md, slow is a rough guess" in said
    assert not directory.parent.exists()
    refused = run(*command(small_suite, directory, "--cluster", "cpu-nodes"), check=False)
    assert refused.returncode == 2
    assert "--cluster is for --executor slurm" in refused.stderr


def test_a_table_of_the_profile_that_fits_nothing_is_named(small_suite: Path, tmp_path: Path) -> None:
    profile = tmp_path / "site.toml"
    profile.write_text("[methods.slow]\ncores = 2\n[methods.prose]\ngpus = 1\n")
    cluster = ("--executor", "slurm", "--cluster", str(profile), "--dry-run")
    said = run(*command(small_suite, tmp_path / "run", *cluster)).stderr
    assert "[methods.prose] in the cluster profile names neither a row of suite small" in said
    assert "[methods.slow]" not in said


FLOWS = """
name = "flows"
peptides = ["AA"]
budgets = [140]
frames = 100
[methods.flow]
method = "prose-snis"
chunk_proposals = 100
batch = 100
[methods.improving]
method = "prose-self-improve"
rounds = 1
steps = 2
tuning_batch = 70
learning_rate = 1e-3
batch = 70
"""


def test_flows_leave_the_same_numbers_whatever_threads_they_are_offered(tmp_path: Path) -> None:
    suite, left = tmp_path / "flows.toml", []
    suite.write_text(FLOWS)
    for threads in ("1", "2"):
        offered = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        run(*command(suite, tmp_path / threads, "--workers", "1"), env=offered)
        left.append(results(tmp_path / threads))
    assert len(left[0]) == 4
    assert left[0] == left[1]


def test_status_knows_waiting_cells(small_suite: Path, tmp_path: Path) -> None:
    lay_out(plan_cells(load_suite(str(small_suite))), tmp_path / "run")
    assert [state.state for state in read_states(tmp_path / "run")] == ["waiting", "waiting"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--suite", "quickstarts"], "unknown suite 'quickstarts'; known: dipeptides-30"),
        (
            ["run", "--suite", "quickstart", "--methods", "mdd"],
            "unknown method 'mdd'; rows of suite quickstart: ",
        ),
        (["run", "--suite", "quickstart", "--peptides", "AX"], "no peptide AX"),
        (
            ["run", "--suite", "quickstart", "--budgets", "many"],
            "--budgets 'many': 'many' is not a whole number",
        ),
        (
            ["run", "--suite", "quickstart", "--set", "md.step=3"],
            "unknown key 'step'; known settings: friction_per_ps",
        ),
        (["status", "nowhere"], "nowhere holds no cells"),
        (["show", "nothing"], "no cell fits"),
        (["list", "things"], "known: suites, methods, peptides"),
        (["check", "mdd"], "unknown method 'mdd'"),
    ],
)
def test_wrong_input_is_one_clear_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = run("prosebench", *arguments, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
