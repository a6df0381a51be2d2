"""The command that looks at a machine, and at what it computes."""

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from prosebench.cli.options import ClusterFile, Executor, app, load_profile, out
from prosebench.machine.terminal import pass_or_fail, plain_table

if TYPE_CHECKING:
    from jobs.cluster.profile import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prosebench.check.doctor import Finding


def _schedulers() -> "Iterator[Finding]":
    """The batch systems whose commands are here, and whether they answer."""
    from jobs.cluster.schedulers.scheduler import NoScheduler, schedulers
    from prosebench.check.doctor import Finding

    absent = []
    for scheduler in schedulers().values():
        try:
            yield Finding(scheduler.label, "ok", scheduler.version())
        except NoScheduler as problem:
            if scheduler.there():
                yield Finding(
                    scheduler.label, "absent", f"its commands are there, but it does not answer: {problem}"
                )
            else:
                absent.append(scheduler.label)
    if absent:
        yield Finding(
            "schedulers", "absent", f"no commands of {', '.join(absent)} on PATH; cells run on this machine"
        )


NODE_MINUTES = 10
"""The time limit in minutes of a check on a node. Most of it goes into loading everything from a slow file
system."""


@app.command()
def doctor(
    vectors: Annotated[Path | None, typer.Option(help="Folder of conformance files to check.")] = None,
    device: Annotated[str, typer.Option(help="Where networks compute: cpu, cuda, cuda:1 ...")] = "cpu",
    on_node: Annotated[
        bool,
        typer.Option("--on-node", help="Try every GPU, OpenMM platform and MPI here, with real kernels."),
    ] = False,
    executor: Executor = "local",
    cluster: ClusterFile = "",
) -> None:
    """What this machine can do; with --vectors, whether it computes the published functions.

    With --executor slurm, that is done by jobs of one process, one for each kind of node that the profile asks for.
    """
    profile = load_profile(executor, cluster)
    if executor != "local":
        raise typer.Exit(_on_nodes(profile))
    if on_node:
        raise typer.Exit(_on_this_node())
    from prosebench.check.doctor import Checker, check_vectors, examine

    bad = 0
    if vectors is None:
        table = plain_table("what", "state", "found")
        for finding in (*examine(), *_schedulers()):
            bad += finding.state == "missing"
            table.add_row(finding.what, finding.state, finding.found)
        out.print(table)
        raise typer.Exit(1 if bad else 0)
    from analysis.metrics.vectors import check_metrics
    from prosebench.check.ecnf_vectors import check_ecnf
    from prosebench.check.order_vectors import check_atom_orders
    from prosebench.check.prose_vectors import check_prose, check_tarflow
    from prosebench.check.robin_vectors import check_robin
    from prosebench.flows.device import choose_device

    choose_device(device)
    checkers: dict[str, Checker] = {
        "atom_orders": check_atom_orders,
        "ecnf_": partial(check_ecnf, device=device),
        "metrics_": check_metrics,
        "prose_": partial(check_prose, device=device),
        "robin_": partial(check_robin, device=device),
        "tarflow_": partial(check_tarflow, device=device),
    }
    for path, checks in check_vectors(vectors, checkers):
        if checks is None:
            mark = Text("not checked", "yellow")
            out.print(mark, f" {path.name}: no part of this version computes what it holds", soft_wrap=True)
            continue
        failed = [one for one in checks if not one.passed]
        bad += bool(failed)
        out.print(pass_or_fail(not failed), f" {path.name}", soft_wrap=True)
        for one in checks:
            said = f" {one.quantity}: {one.error:.2e} (tolerance {one.tolerance:.0e})"
            out.print("     ", pass_or_fail(one.passed), said, soft_wrap=True)
    raise typer.Exit(1 if bad else 0)


def _on_this_node() -> int:
    """Try everything here; the exit status."""
    from prosebench.check.node import NodeFinding, examine_node, task_number, verdict

    findings: list[NodeFinding] = []
    # If several processes were started together, all of them try, and one prints.
    if task_number():
        return 0 if verdict(list(examine_node()))[1] else 1
    for one in examine_node():
        findings.append(one)
        out.print(f"{one.what:<18} {one.state:<8} {one.found}", soft_wrap=True)
    line, ready = verdict(findings)
    out.print(Text(line, "green" if ready else "red"), soft_wrap=True)
    return 0 if ready else 1


def _on_nodes(profile: "Cluster") -> int:
    """Try everything in a job of each kind that the profile asks for, one after the other; 1 where a node is
    not ready."""
    from jobs.cluster.remote import submit_each

    worst, begun = 0, time.strftime("%Y%m%d-%H%M%S")
    for number, (names, need) in enumerate(profile.kinds()):
        out.print(f"jobs of {', '.join(names)}", style="bold")
        folder = Path("runs/doctor") / f"{begun}-{number}"
        alone = need.model_copy(update={"ranks": 1, "workers": 1, "minutes": min(need.minutes, NODE_MINUTES)})
        command = ["doctor", "--on-node"]
        submit_each([command], folder, profile, out, need=alone, progress=partial(_heard, folder))
        text, (_, finished) = _said_on_node(folder), _heard(folder)
        out.print(text or f"no word from the job; its output is in {folder}", soft_wrap=True)
        worst = max(worst, int(not finished or "; not for " in text or "ready for nothing" in text))
    return worst


def _said_on_node(folder: Path) -> str:
    """What the job of a folder has printed so far."""
    logs = sorted(folder.glob("jobs/*/logs/*"))
    return "\n".join(path.read_text(errors="replace") for path in logs if path.is_file())


def _heard(folder: Path) -> tuple[str, bool]:
    """How far a check is, in words, and whether its last line is there."""
    finished = any(line.startswith("ready for ") for line in _said_on_node(folder).splitlines())
    return "the node has answered" if finished else "waiting for a node", finished
