"""The command that looks at a machine, and at what it computes."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from prosebench.cli.options import app, out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prosebench.check.doctor import Finding


def _schedulers() -> "Iterator[Finding]":
    """The batch systems whose commands are here, and whether they answer."""
    from jobs.cluster.scheduler import NoScheduler, schedulers
    from prosebench.check.doctor import Finding

    absent = []
    for scheduler in schedulers().values():
        try:
            yield Finding(scheduler.title, "ok", scheduler.version())
        except NoScheduler as problem:
            if scheduler.there():
                yield Finding(
                    scheduler.title, "absent", f"its commands are there, but it does not answer: {problem}"
                )
            else:
                absent.append(scheduler.title)
    if absent:
        yield Finding(
            "schedulers", "absent", f"no commands of {', '.join(absent)} on PATH; cells run on this machine"
        )


@app.command()
def doctor(
    vectors: Annotated[Path | None, typer.Option(help="Folder of conformance files to check.")] = None,
    device: Annotated[str, typer.Option(help="Where networks compute: cpu, cuda, cuda:1 ...")] = "cpu",
) -> None:
    """What this machine can do; with --vectors, whether it computes the published functions."""
    from prosebench.check.doctor import Checker, check_vectors, examine

    bad = 0
    if vectors is None:
        table = Table("what", "state", "found", box=None, pad_edge=False)
        for finding in (*examine(), *_schedulers()):
            bad += finding.state == "missing"
            table.add_row(finding.what, finding.state, escape(finding.found))
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
            out.print(
                f"[yellow]not checked[/yellow]  {path.name}: no part of this version computes what it holds"
            )
            continue
        failed = [one for one in checks if not one.passed]
        bad += bool(failed)
        out.print(f"{'[red]FAIL[/red]' if failed else '[green]pass[/green]'}  {path.name}")
        for one in checks:
            mark = "[green]pass[/green]" if one.passed else "[red]FAIL[/red]"
            out.print(
                f"      {mark}  {one.quantity}: {one.error:.2e} (tolerance {one.tolerance:.0e})",
                soft_wrap=True,
            )
    raise typer.Exit(1 if bad else 0)
