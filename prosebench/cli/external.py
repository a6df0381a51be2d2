"""The command that takes in frames of programs that are not run here."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from prosebench.cli.options import (
    OWN_REFERENCES,
    Budgets,
    References,
    RunFolder,
    SuiteName,
    app,
    check_suite_name,
    numbers,
    out,
    remark,
)


@app.command("import")
def import_(
    frames: Annotated[
        list[Path],
        typer.Argument(help="Files of frames (.npz, .xtc, .dcd, .pdb), a .toml or .json beside each."),
    ],
    suite: SuiteName,
    directory: RunFolder = None,
    budgets: Budgets = "",
    references: References = None,
) -> None:
    """Take ensembles of other programs into a run folder, as rows whose costs are declared and not metered."""
    check_suite_name(suite)
    marks = numbers(budgets, "--budgets")
    from jobs.making.imported import import_ensembles
    from prosebench.record import keep_plan
    from prosebench.suite import load_suite, narrow

    chosen = narrow(load_suite(suite), budgets=marks)
    directory = directory or Path("runs") / chosen.name
    keep_plan(directory, chosen.name, chosen.peptides)
    for one in import_ensembles(frames, chosen, directory, references or [OWN_REFERENCES]):
        declared = one.declaration
        out.print(
            f"{declared.method}, {declared.peptide}, seed {declared.seed}: {one.frames:,} frames, median energy "
            f"{one.median_energy_kt:.1f} kT; {declared.energy_evaluations:,} evaluations and {declared.seconds:g} s "
            f"declared; scored at {', '.join(f'{budget:,}' for budget in one.budgets)}",
            soft_wrap=True,
        )
        for note in one.notes:
            remark("note:", note)
        if one.non_finite:
            remark("warning:", f"{one.non_finite:,} frames have no finite energy")
    out.print(f"in {directory}; `prosebench report {quote(str(directory))}` scores them", soft_wrap=True)
