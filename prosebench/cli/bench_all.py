"""The command that measures the speed of everything, one bench after the other, and keeps it as one record."""

import math
import re
import shlex
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from prosebench.cli.bench import Rows, bench
from prosebench.cli.options import out, remark

SECTIONS: dict[str, tuple[str, str]] = {
    "energy": (
        "energy --peptides AA,ARIP,ISKCKNGE --threads 1,2 --rounds 3",
        "energy --peptides AA --threads 1 --rounds 1",
    ),
    "inverse": (
        "inverse --sizes prose-mini,prose-8aa --peptides AA,ARIP --batches 64 --blocks 1 --layers 1 --rounds 3",
        "inverse --sizes prose-mini --peptides AA --batches 8 --blocks 1 --layers 1 --rounds 1",
    ),
    "training": (
        "training --sizes prose-mini --peptides AA --batches 64 --seconds 10",
        "training --sizes prose-mini --peptides AA --batches 2 --seconds 0",
    ),
    "wasserstein": (
        "wasserstein --dimensions 2,14 --frames 4000 --rounds 1",
        "wasserstein --dimensions 2 --frames 100 --rounds 1",
    ),
    "scoring": (
        "scoring --peptides ISKCKNGE --frames 10000",
        "scoring --peptides AA --frames 1000",
    ),
    "planning": (
        "planning --cells 10000",
        "planning --cells 40",
    ),
    "overhead": (
        "overhead --methods md,md-replicas,arbg-snis --peptides AA --budgets 1000000 --set md.max_budget=200000 "
        "--set arbg-snis.max_budget=4000 --rounds 2",
        "overhead --methods md --peptides AA --budgets 1000 --set md.warm_up_ps=0.1 --rounds 1",
    ),
    "ranks": (
        "scaling --methods md-replicas --peptides AA --budgets 2000000 --set md-replicas.replicas=256 --ranks 1,2 "
        "--workers '' --rounds 2",
        "scaling --methods md-replicas --peptides AA --budgets 1000 --ranks 1 --workers '' --rounds 1",
    ),
    "workers": (
        "scaling --methods md --peptides AA --budgets 100000 --ranks '' --workers 1,2 --rounds 2",
        "scaling --methods md --peptides AA --budgets 1000 --set md.warm_up_ps=0.1 --ranks '' --workers 1 --rounds 1",
    ),
}
"""What is measured: words after `prosebench bench`, in full and quickly, by the name of the section in the record."""


@bench.command("all")
def bench_all(
    target: Annotated[Path, typer.Option("--out", help="Folder for the record, a file a machine.")] = Path(
        "runs/performance"
    ),
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Little of each, in a minute: whether it works, not how fast it is."),
    ] = False,
) -> None:
    """All of what documentation says of speed, one after the other; a bench that fails is named, and others go on."""
    from jobs.cells.worker import versions
    from prosebench.machine.build_info import code_commit
    from prosebench.machine.description import describe_machine, load_average
    from prosebench.store.storage import make_folder, write_json

    make_folder(target)
    machine = describe_machine()
    path = target / f"{record_name(machine, quick)}.json"
    sections: list[dict[str, Any]] = []
    record = {
        "machine": machine,
        "versions": versions() | {"commit": code_commit()},
        "load_before": load_average(),
        "started": _now(),
        "quick": quick,
        "sections": sections,
    }
    for name, commands in SECTIONS.items():
        sections.append(_measured(name, commands[quick]))
        write_json(path, record | {"load_after": load_average(), "finished": _now()})
    out.print(f"record: {path}", soft_wrap=True)
    failed = [section["name"] for section in sections if section["failure"]]
    if failed:
        remark("failed:", ", ".join(failed), "red")
        raise typer.Exit(1)


def record_name(machine: dict[str, Any], quick: bool) -> str:
    """Name of a machine's record, by its processor and cores: "amd-epyc-2-cores"; a quick one stands apart."""
    words = re.sub(r"[^a-z0-9]+", "-", str(machine["processor"]).lower()).strip("-")
    return f"{words}-{machine['cores']}-cores{'-quick' if quick else ''}"


def _measured(name: str, words: str) -> dict[str, Any]:
    """A section of the record: what its command, which prints its rows, has measured; or why it failed."""
    out.print(f"\n{name}: prosebench bench {words}", soft_wrap=True)
    begun, rows, failure = time.perf_counter(), [], ""
    try:
        rows = _rows(shlex.split(words))
    except Exception as error:  # whatever it is, the other sections are to be measured
        failure = f"{type(error).__name__}: {error}"
        remark("failed:", f"{name}: {failure}", "red")
    return {
        "name": name,
        "command": f"prosebench bench {words}",
        "seconds": round(time.perf_counter() - begun, 1),
        "rows": rows,
        "failure": failure,
    }


def _rows(words: list[str]) -> Rows:
    """What a bench returns for the words that one would type. Raises whatever it raises; ValueError for no numbers."""
    command = typer.main.get_command(bench).commands[words[0]]  # type: ignore[attr-defined]
    with command.make_context(words[0], words[1:]) as context:
        rows: Rows = command.invoke(context)
    numbers = [value for row in rows for value in row.values() if isinstance(value, float)]
    if not all(map(math.isfinite, numbers)) or not rows:
        raise ValueError(f"{len(rows)} rows, or some of their numbers are not finite: {numbers}")
    return rows


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
