"""A real cluster for the tests of this folder, one suite to disturb, and what it leaves when nobody disturbs it."""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.cells.heartbeat import read_beat
from prosebench.record import cell_folders
from tests.conftest import with_plugin
from tests.jobs.conftest import results, run
from tests.slurm import lab

ASKED = "PROSEBENCH_TEST_SLURM"
FOLDER = Path("/tmp/prosebench-lab")

SUITE = """
name = "disturbed"
peptides = ["AA"]
budgets = [1000, 10000]
seeds = [0, 1]
frames = 200
[target]
engine = "openmm"
[methods.md]
method = "unhurried-md"
warm_up_ps = 0.2
minimise_steps = 5
chunk_steps = 250
"""
EVALUATIONS = 10_000
REST_SECONDS = "0.1"
"""Between two of the 80 chunks of this suite: however fast a machine is, there is time to disturb it."""
PATIENCE_SECONDS = 200.0
LIMIT_SECONDS = 300.0
"""Of a wait, and of a test. Far more than anything here takes: also a machine with much else to do comes this far."""
PROFILE = """
partition = "main"
minutes = 5
memory_gb = 2
pack_minutes = 1000
signal_seconds = 30
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave these tests out, and say why, unless `make test-slurm` asks for them."""
    here = Path(__file__).parent
    reason = (
        lab.missing()
        if os.environ.get(ASKED)
        else f"needs a real SLURM cluster: `make test-slurm` ({ASKED}=1)"
    )
    if os.environ.get(ASKED) and reason:
        pytest.exit(f"tests/slurm: {reason}", returncode=1)
    for item in items:
        if reason and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """End a test that hangs."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"{item.name} was not through in {LIMIT_SECONDS:.0f} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Show, where a test failed, what its jobs have said and what is still in the queue."""
    report = yield
    site = getattr(item, "funcargs", {}).get("site")
    if report.failed and site is not None:
        report.sections.append(("jobs and cells", site.account()))
    return report


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    """Folder of a running cluster; PROSEBENCH_LAB names one that runs already."""
    running = os.environ.get("PROSEBENCH_LAB")
    folder = Path(running) if running else FOLDER
    if running:
        os.environ["SLURM_CONF"] = str(folder / "etc" / "slurm.conf")
        yield folder
        return
    with Path(f"{folder}.lock").open("w") as lock:
        # Another run of these tests on this machine ends first.
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.environ |= lab.start(folder)
        yield folder
        lab.stop(folder)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Records and ensembles of the suite, run here without any scheduler."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "suite.toml").write_text(SUITE)
    run(
        "prosebench",
        "run",
        "--suite",
        str(folder / "suite.toml"),
        "--dir",
        str(folder / "run"),
        "--no-report",
        env=os.environ | {"PYTHONPATH": with_plugin(), "OMP_NUM_THREADS": "1"},
    )
    return results(folder / "run")


class Site:
    """A run folder on the cluster, and the commands that a user types there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.directory = folder / "run"
        self.suite = folder / "suite.toml"
        self.suite.write_text(SUITE)
        self.started: list[subprocess.Popen[str]] = []
        self.profile()

    def profile(self, text: str = "") -> None:
        """Write the cluster profile: the usual one, with these lines instead of or besides its own."""
        changed = {line.split("=")[0].strip() for line in text.splitlines()}
        # Its GPUs are pretended: networks are told to leave them alone.
        text += '\n[environment]\nPROSEBENCH_DEVICE = "cpu"\n' if "environment" not in text else ""
        kept = [line for line in PROFILE.splitlines() if line.split("=")[0].strip() not in changed]
        (self.folder / "cluster.toml").write_text("\n".join([*kept, text]))

    def command(self, *more: str) -> list[str]:
        """The command that submits what is missing."""
        place = ["--suite", str(self.suite), "--dir", str(self.directory), "--no-report"]
        return [
            "prosebench",
            "run",
            *place,
            "--executor",
            "slurm",
            "--cluster",
            str(self.folder / "cluster.toml"),
            *more,
        ]

    def run(self, *more: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Submit what is missing and, with --follow, wait."""
        return run(*self.command(*more), check=check)

    def start(self, *command: str) -> "subprocess.Popen[str]":
        """Start a command, without waiting for it; by default the one that submits what is missing, and follows."""
        process = subprocess.Popen(
            command or self.command("--follow"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"COLUMNS": "200"},
        )
        self.started.append(process)
        return process

    def leave(self) -> None:
        """End what a test that broke off has left: commands, and jobs."""
        for process in self.started:
            process.kill()
            process.wait()
        names = ",".join(path.name for path in (self.directory / "jobs").glob("prosebench-*"))
        if names:
            run("scancel", f"--name={names}", check=False)

    def status(self, **options: object) -> str:
        """What `prosebench status` prints."""
        return run("prosebench", "status", str(self.directory), **options).stdout

    def log(self) -> str:
        """The output of all jobs so far."""
        return "".join(path.read_text() for path in sorted((self.directory / "jobs").glob("*/logs/*.log")))

    def account(self) -> str:
        """What there is to know about a test that failed."""
        failures = "".join(path.read_text() for path in sorted(self.directory.glob("cells/*/failure.json")))
        queue = run("squeue", "--long", check=False).stdout
        return "\n".join([self.log()[-20_000:], failures, queue, self.status(check=False)])

    def chunks(self) -> int:
        """Chunks that are stored."""
        return len(list(self.directory.glob("cells/*/chunks/*.npz")))

    def beats(self) -> list[dict[str, Any]]:
        """Signs of life of workers that are on a cell."""
        beats: list[dict[str, Any]] = []
        while not beats:
            beats = [beat for beat in map(read_beat, self.cells()) if beat and not beat["stopped"]]
        return beats

    def cells(self) -> list[Path]:
        """Folders of the cells."""
        return cell_folders(self.directory)

    def wait_for_chunks(self, more_than: int = 0) -> None:
        """Wait until work is under way."""
        until("chunks are stored", lambda: self.chunks() > more_than)

    def wait_until_idle(self) -> None:
        """Wait until none of this site's jobs is in the queue."""
        names = ",".join(path.name for path in (self.directory / "jobs").glob("prosebench-*"))
        until("the queue is empty", lambda: not run("squeue", "-h", f"--name={names}").stdout.strip())


@pytest.fixture
def site(cluster: Path, tmp_path: Path, unhurried: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("UNHURRIED_SECONDS", REST_SECONDS)
    site = Site(tmp_path)
    yield site
    site.leave()


def end_of(process: "subprocess.Popen[str]", code: int = 0) -> str:
    """What a command has said, once it has ended as it should."""
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == code, said
    return said


def until(what: str, true: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something to become true."""
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, f"waited {seconds:.0f} s until {what}"
        time.sleep(0.1)


def take_all_nodes() -> None:
    """A job of somebody more important, on all nodes."""
    run("sbatch", "--partition=main", "--exclusive", "--nodes=4", "--output=/dev/null", "--wrap=sleep 3")
