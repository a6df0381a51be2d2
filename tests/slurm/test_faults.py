"""Whatever happens to the jobs, the same command finishes the suite, and the records are those of a quiet run."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from jobs.cells.status import read_states
from prosebench.record import cell_folders, read_provenance, read_record
from tests.jobs.conftest import results, run
from tests.slurm import lab
from tests.slurm.conftest import EVALUATIONS, Site, end_of, take_all_nodes, until


@pytest.fixture(autouse=True)
def quiet_end(site: Site, undisturbed: dict[str, bytes]) -> "object":
    """After each fault: equal records, and a ledger that shows the budget spent once."""
    yield
    assert results(site.directory) == undisturbed
    for folder in cell_folders(site.directory):
        assert read_record(folder).ledger.sampling.evaluations == EVALUATIONS
    assert not (site.directory / "set-aside").exists()


def sittings(site: Site) -> int:
    return max(read_provenance(folder).sittings for folder in cell_folders(site.directory))


def finish(site: Site) -> None:
    """What a user does after a fault: the same command again."""
    site.wait_until_idle()
    os.environ["UNHURRIED_SECONDS"] = "0"
    site.run("--follow")


def test_preemption_with_a_warning(site: Site) -> None:
    site.profile('partition = "low"')
    following = site.start()
    site.wait_for_chunks()
    take_all_nodes()
    end_of(following)
    assert sittings(site) >= 2
    assert "goes back into the queue" in site.log()


def test_preemption_without_a_warning(site: Site) -> None:
    site.profile('partition = "abrupt"')
    following = site.start()
    site.wait_for_chunks()
    take_all_nodes()
    end_of(following)
    assert sittings(site) >= 2


def test_time_limit(site: Site) -> None:
    # SLURM looks ahead by 30 s: its signal comes 5 to 10 s after the start.
    site.profile("minutes = 1\nsignal_seconds = 25")
    following = site.start()
    site.wait_for_chunks()
    # A slow process for little work: it stands still until the signal waits for it, or has set it going again.
    pid = site.beats()[0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    until("it stands still", lambda: not runs(pid))
    with contextlib.suppress(AssertionError):
        until("SLURM gives its signal", lambda: signal_waits(pid) or runs(pid), seconds=20)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    end_of(following)
    assert "goes back into the queue" in site.log()
    assert sittings(site) >= 2


def runs(pid: int) -> bool:
    """Whether a process is there and not stopped."""
    return process_status(pid).get("State", "T").strip()[0] != "T"


def signal_waits(pid: int) -> bool:
    """Whether a SIGUSR2 has been sent to a process that does not take it."""
    return bool(int(process_status(pid).get("ShdPnd", "0"), 16) & 1 << (signal.SIGUSR2 - 1))


def process_status(pid: int) -> dict[str, str]:
    """What the kernel says about a process; nothing where it has ended."""
    try:
        return dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    except FileNotFoundError:
        return {}


def test_a_killed_process(site: Site) -> None:
    site.run()
    site.wait_for_chunks()
    os.kill(site.beats()[0]["pid"], signal.SIGKILL)
    site.wait_until_idle()
    until("accounting knows", lambda: "ended as FAILED" in site.status())
    assert " lost " in site.status()
    finish(site)
    assert sittings(site) == 2


def test_out_of_memory(site: Site) -> None:
    site.profile("memory_gb = 0.1")
    done = site.run("--follow", check=False)
    assert done.returncode == 1
    assert re.search(r"job .* (ended as|has left)", done.stderr)
    site.profile()
    finish(site)


def test_a_node_goes_down(site: Site, cluster: Path) -> None:
    following = site.start()
    site.wait_for_chunks()
    job = str(site.beats()[0]["job"])
    node = run("squeue", "-h", "-j", job, "-o", "%N").stdout.strip()
    lab.kill_node(cluster, node)
    try:
        end_of(following)
    finally:
        lab.start_node(cluster, node)
        run("scontrol", "update", f"nodename={node}", "state=resume", check=False)
        until(
            "the node is back",
            lambda: run("sinfo", "-h", "-n", node, "-p", "main", "-o", "%t").stdout.strip() == "idle",
        )
    assert sittings(site) >= 2


def test_a_cancelled_job(site: Site) -> None:
    site.run()
    site.wait_for_chunks()
    run("prosebench", "cancel", str(site.directory))
    site.wait_until_idle()
    assert {state.state for state in read_states(site.directory)} == {"waiting"}
    assert site.chunks() > 0
    finish(site)
    assert sittings(site) == 2


def test_a_cancelled_task(site: Site) -> None:
    site.profile("pack_minutes = 0.02")
    following = site.start()
    site.wait_for_chunks()
    run("scancel", str(site.beats()[0]["job"]))
    said = end_of(following, code=1)
    assert "submitted 2 jobs" in said
    assert sorted(state.state for state in read_states(site.directory)) == ["done", "waiting"]
    finish(site)
    assert sittings(site) == 2


def test_a_full_disk(site: Site, undisturbed: dict[str, bytes]) -> None:
    site.directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(site.directory)], check=True)
    try:
        done = site.run("--follow", check=False)
        assert done.returncode == 1
        assert not list(site.directory.glob("cells/*/failure.json"))
        subprocess.run(["mount", "-o", "remount,size=50m", str(site.directory)], check=True)
        finish(site)
        shutil.copytree(site.directory, site.folder / "kept")
    finally:
        # The last record is there before its job has ended, which holds its log open until then.
        site.wait_until_idle()
        subprocess.run(["umount", str(site.directory)], check=True)
    site.directory.rmdir()
    (site.folder / "kept").rename(site.directory)


def test_stale_temporary_files(site: Site) -> None:
    site.run()
    site.wait_for_chunks(3)
    os.kill(site.beats()[0]["pid"], signal.SIGKILL)
    site.wait_until_idle()
    for folder in cell_folders(site.directory):
        (folder / "chunks").mkdir(exist_ok=True)
        (folder / "chunks" / ".000003.npz.node9-123.partial").write_bytes(b"half a chunk")
        (folder / ".ensemble.npz.node9-123.partial").write_bytes(b"half an ensemble")
    for path in site.directory.glob("jobs/*/logs/*_submitted.pkl"):
        path.with_suffix(".save_tmp").write_bytes(b"half a pickle")
    finish(site)


def test_a_job_that_never_starts(site: Site) -> None:
    site.profile("extra = { hold = true }")
    site.run()
    until("the job is held", lambda: "0 running, 1 pending (JobHeldUser)" in site.status())
    again = site.run().stdout
    assert "2 in queued jobs" in again
    assert "JobHeldUser" in again
    assert "2 in queued jobs, 0 parked, 0 to run" in site.run("--dry-run").stdout
    assert re.search(r"waiting: 2 cells; in job \S+: pending, JobHeldUser", site.status())
    assert len(list(site.directory.glob("jobs/prosebench-*"))) == 1
    run("prosebench", "cancel", str(site.directory))
    site.profile()
    finish(site)


def test_a_job_that_ends_before_it_has_begun(site: Site) -> None:
    site.profile('setup = ["echo the site is closed", "exit 3"]')
    said = site.run("--follow", check=False).stderr
    found = re.search(
        r"waiting: \S+ and 1 more cell: job \S+ (?:ended as FAILED|has left the queue); log: (\S+)", said
    )
    assert found, said
    assert "the site is closed" in Path(found[1]).read_text()
    until("accounting knows", lambda: "ended as FAILED" in site.status())
    assert re.search(r"waiting: 2 cells; job \S+ ended as FAILED; log: ", site.status())
    site.profile()
    finish(site)


def test_jobs_of_somebody_else_are_not_said_to_be_cancelled(site: Site) -> None:
    site.profile("extra = { hold = true }")
    site.run()
    (name,) = (path.name for path in site.directory.glob("jobs/prosebench-*"))
    theirs = ["--uid=nobody", f"--job-name={name}", "--array=0-1", "--hold", "--chdir=/tmp"]
    run("sbatch", *theirs, "--output=/dev/null", "--wrap=true")
    try:
        said = run("prosebench", "cancel", str(site.directory)).stdout
        assert "cancelled 1 job (0 of them running)" in said
        assert "2 jobs of nobody go on" in said
        assert "2 pending" in site.status()
    finally:
        run("scancel", f"--name={name}")
    site.profile()
    finish(site)


def test_submitting_twice_and_two_followers(site: Site) -> None:
    both = [site.start() for _ in range(2)]
    for process in both:
        end_of(process)
    assert len(list(site.directory.glob("jobs/prosebench-*"))) == 1
    assert sittings(site) == 1


def test_the_same_cells_in_two_jobs(site: Site) -> None:
    """As when somebody gives a written script to sbatch twice."""
    place = [
        "--suite",
        str(site.suite),
        "--dir",
        str(site.directory),
        "--cluster",
        str(site.folder / "cluster.toml"),
    ]
    run("prosebench", "submit", *place, cwd=site.folder)
    for _ in range(2):
        run("sbatch", "prosebench.array", cwd=site.folder)
    site.wait_until_idle()
    assert sittings(site) == 1
