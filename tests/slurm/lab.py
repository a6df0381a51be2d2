"""A real SLURM cluster of four nodes on one machine: munge, accounting, controller and node daemons, loopback only.

Needs root and Debian's packages (see PACKAGES). Everything lives in one folder; `stop` ends by their ids the processes
that `start` began, and nothing else.

    python -m tests.slurm.lab start FOLDER      then: export SLURM_CONF=FOLDER/etc/slurm.conf
    python -m tests.slurm.lab stop FOLDER
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PACKAGES = "slurmctld slurmd slurmdbd slurm-client munge mariadb-server-core mariadb-client-core"
NODES = [f"node{index}" for index in range(4)]
MUNGE_SOCKET = "/run/munge/munge.socket.2"
HOSTS = Path("/etc/hosts")
HOSTS_MARK = "# until the SLURM cluster of the tests has ended"

SLURM_CONF = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={munge},cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
SlurmctldParameters=preempt_send_user_signal
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=pmi2
ReturnToService=2
MaxArraySize=200
KillWait=5
SlurmdTimeout=15
BatchStartTimeout=20
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=5,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounting}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName=node[0-3] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports}] CPUs=8 RealMemory=16000 Gres=gpu:2
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=low Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=abrupt Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=0
"""

DATABASE_CONF = """
AuthType=auth/munge
AuthInfo=socket={munge}
CommunicationParameters=NoInAddrAny
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={accounting}
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass=lab
StorageLoc=slurm_acct_db
"""


def start(folder: Path) -> dict[str, str]:
    """Start the cluster in a folder and wait until it works. Returns the environment that its users need.

    What an earlier start has left there, processes too, is removed first.
    """
    environment = {"SLURM_CONF": str(folder / "etc" / "slurm.conf")}
    if Path(environment["SLURM_CONF"]).exists():
        stop(folder)
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    ports = _free_ports()
    try:
        _name_this_machine()
        _write_configuration(folder, ports)
        _start_munge(folder)
        _start_database(folder, ports["database"])
        os.environ |= environment
        _spawn(folder, "slurmdbd", ["slurmdbd", "-D"])
        _until("accounting answers", lambda: _answers("sacctmgr", "-n", "list", "cluster"))
        if "lab" not in _said("sacctmgr", "-n", "list", "cluster"):
            _said("sacctmgr", "-i", "add", "cluster", "lab")
        _spawn(folder, "slurmctld", ["slurmctld", "-D", "-i", "-c"])
        for node in NODES:
            start_node(folder, node)
        _until(
            "all nodes are idle",
            lambda: _said("sinfo", "-h", "-N", "-p", "main", "-o", "%t").split() == ["idle"] * 4,
        )
        _until("sacct answers", lambda: _answers("sacct", "-n"))
    except BaseException:
        stop(folder)
        raise
    return environment


def stop(folder: Path) -> None:
    """End the processes that were started in this folder, the last one first, and what runs on the nodes."""
    path = folder / "pids"
    for line in reversed(path.read_text().splitlines() if path.exists() else []):
        name, pid, begun = line.split()
        # An old number may be somebody else's process by now.
        if _begun(int(pid)) == begun:
            _end(int(pid))
        if name.startswith("slurmd-"):
            _kill_all(folder, name.removeprefix("slurmd-"))
    path.unlink(missing_ok=True)
    if HOSTS_MARK in HOSTS.read_text():
        lines = HOSTS.read_text().splitlines(keepends=True)
        HOSTS.write_text("".join(line for line in lines if HOSTS_MARK not in line))


def start_node(folder: Path, node: str) -> None:
    """Start the daemon of one node."""
    (folder / "spool" / node).mkdir(parents=True, exist_ok=True)
    _spawn(folder, f"slurmd-{node}", ["slurmd", "-D", "-N", node])


def kill_node(folder: Path, node: str) -> None:
    """Let a node die as if its plug were pulled: its daemon and everything that it runs are killed."""
    lines = (folder / "pids").read_text().splitlines(keepends=True)
    daemon = next(line for line in reversed(lines) if line.startswith(f"slurmd-{node} "))
    (folder / "pids").write_text("".join(line for line in lines if line != daemon))
    os.kill(int(daemon.split()[1]), signal.SIGKILL)
    _kill_all(folder, node)


def _kill_all(folder: Path, node: str) -> None:
    while doomed := _processes_of(folder, node):
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def _processes_of(folder: Path, node: str) -> list[int]:
    """What a node runs knows its node; the daemon of each step, which has left slurmd, is its parent."""
    marks = {f"SLURMD_NODENAME={node}".encode(), f"SLURM_CONF={folder}/etc/slurm.conf".encode()}
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marks <= set((entry / "environ").read_bytes().split(b"\0")):
                parent = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
                daemon = b"slurmstepd" in Path(f"/proc/{parent}/cmdline").read_bytes()
                found += [parent, int(entry.name)] if daemon else [int(entry.name)]
        except OSError:
            continue
    return found


def _name_this_machine() -> None:
    """The daemons look their own machine up by name, and must find it on loopback."""
    if _address() != "127.0.0.1":
        # In place and not by renaming: in a container this file is mounted.
        HOSTS.write_text(f"127.0.0.1 {socket.gethostname()} {HOSTS_MARK}\n{HOSTS.read_text()}")
    if _address() != "127.0.0.1":
        raise OSError(
            f"{socket.gethostname()} is not found in {HOSTS}; see the line `hosts:` of nsswitch.conf"
        )


def _free_ports() -> dict[str, int]:
    """A port for each daemon; those of the nodes, which follow each other, begin at "node"."""
    names = ("controller", "accounting", "database", "node")
    for first in range(16800, 30000, 100):
        try:
            for port in range(first, first + len(names) + len(NODES)):
                with socket.socket() as trial:
                    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    trial.bind(("127.0.0.1", port))
        except OSError:
            continue
        return {name: first + index for index, name in enumerate(names)}
    raise OSError("no free ports for the daemons of a SLURM cluster")


def _write_configuration(folder: Path, ports: dict[str, int]) -> None:
    values = {
        "folder": folder,
        "host": socket.gethostname(),
        "munge": MUNGE_SOCKET,
        "ports": f"{ports['node']}-{ports['node'] + len(NODES) - 1}",
    } | ports
    etc = folder / "etc"
    for name in ("etc", "state", "spool", "dev"):
        (folder / name).mkdir(exist_ok=True)
    for index in range(2):
        device = folder / "dev" / f"gpu{index}"
        if not device.exists():
            os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3))
    (etc / "slurm.conf").write_text(SLURM_CONF.format(**values))
    (etc / "gres.conf").write_text(
        f"AutoDetect=off\nNodeName=node[0-3] Name=gpu File={folder}/dev/gpu[0-1]\n"
    )
    (etc / "cgroup.conf").write_text("CgroupAutomount=no\nCgroupPlugin=cgroup/v1\n")
    (etc / "slurmdbd.conf").write_text(DATABASE_CONF.format(**values))
    (etc / "slurmdbd.conf").chmod(0o600)


def _start_munge(folder: Path) -> None:
    user = pwd.getpwnam("munge")
    key = Path("/etc/munge/munge.key")
    if not key.exists():
        key.write_bytes(os.urandom(1024))
    for place in (
        Path("/run/munge"),
        Path("/var/log/munge"),
        Path("/var/lib/munge"),
        Path("/etc/munge"),
        key,
    ):
        if place != key:
            place.mkdir(parents=True, exist_ok=True)
        os.chown(place, user.pw_uid, user.pw_gid)
    Path("/run/munge").chmod(0o755)
    key.chmod(0o400)
    if not _answers("munge", "-n"):
        Path(MUNGE_SOCKET).unlink(missing_ok=True)
        _spawn(
            folder,
            "munged",
            ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "--foreground"],
        )
        _until("munge answers", lambda: _answers("munge", "-n"))


def _start_database(folder: Path, port: int) -> None:
    data, user_socket = folder / "database", folder / "database.sock"
    options = ["--no-defaults", f"--datadir={data}", "--user=root"]
    if not (data / "mysql").is_dir():
        subprocess.run(
            ["mariadb-install-db", *options, "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True,
            capture_output=True,
        )
    _spawn(
        folder,
        "mariadbd",
        [
            "mariadbd",
            *options,
            "--bind-address=127.0.0.1",
            f"--port={port}",
            f"--socket={user_socket}",
        ],
    )
    client = ["mariadb", "--no-defaults", f"--socket={user_socket}", "-u", "root"]
    _until("the database answers", lambda: _answers(*client, "-e", "select 1"))
    grant = (
        "create database if not exists slurm_acct_db;"
        "create user if not exists slurm@'127.0.0.1' identified by 'lab';"
        "create user if not exists slurm@localhost identified by 'lab';"
        "grant all on slurm_acct_db.* to slurm@'127.0.0.1'; grant all on slurm_acct_db.* to slurm@localhost;"
    )
    subprocess.run([*client, "-e", grant], check=True)


def _spawn(folder: Path, name: str, command: list[str]) -> None:
    with (folder / f"{name}.out").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ.copy(),
        )
    with (folder / "pids").open("a") as pids:
        pids.write(f"{name} {process.pid} {_begun(process.pid)}\n")


def _begun(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19]
    except OSError:
        return ""


def _end(pid: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        for _ in range(50):
            try:
                os.kill(pid, number)
                os.waitpid(pid, os.WNOHANG)
            except ProcessLookupError:
                return
            except ChildProcessError:
                pass
            time.sleep(0.1)


def _answers(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout


def _until(what: str, true: Callable[[], bool], seconds: float = 60.0) -> None:
    limit = time.monotonic() + seconds
    while not true():
        if time.monotonic() > limit:
            raise TimeoutError(f"the cluster did not come up: waited {seconds:.0f} s until {what}")
        time.sleep(0.2)


def missing() -> str:
    """Why the cluster cannot be started here; empty where it can."""
    if os.geteuid() != 0:
        return "a real SLURM cluster needs root"
    absent = [
        name for name in ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd") if not shutil.which(name)
    ]
    if absent:
        return f"{', '.join(absent)} not installed (Debian packages: {PACKAGES})"
    return ""


def _address() -> str:
    try:
        return socket.gethostbyname(socket.gethostname())
    except socket.gaierror:
        return ""


if __name__ == "__main__":
    action, place = sys.argv[1], Path(sys.argv[2]).resolve()
    if action == "start":
        for name, value in start(place).items():
            print(f"export {name}={value}")
    else:
        stop(place)
