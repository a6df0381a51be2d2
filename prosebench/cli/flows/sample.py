"""Commands that give frames of a peptide: sample, export."""

import warnings
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from prosebench.cli.flows.improve import Insist, Seed, Size, Temperature, check_known
from prosebench.cli.options import app, fail, installed_methods, out, remark, showing
from prosebench.names import check_kelvin

if TYPE_CHECKING:
    from prosebench.ensemble import Ensemble, Weighting
    from prosebench.flows.flow import Flow
    from prosebench.peptide import Peptide

Out = Annotated[Path, typer.Option("--out", help="File to write: .xtc, .dcd, .pdb or .npz.")]
Resample = Annotated[bool, typer.Option(help="Write frames drawn by their weights instead of weighted ones.")]
WeightingOption = Annotated[
    Literal["smoothed", "filtered"],
    typer.Option(
        "--weighting", help="Of --resample: Pareto-smoothed weights, or the published filter of the highest."
    ),
]
DEFAULT_WEIGHTS, DEFAULT_METHOD_BUDGET = "prose-mini", 1_000_000


@app.command()
def sample(
    sequence: Annotated[
        str, typer.Argument(help="One-letter codes of the peptide, in capitals; ends are charged.")
    ],
    path: Out,
    n: Annotated[
        int,
        typer.Option("-n", min=1, help="Proposals, one energy evaluation each; of MD, frames to keep."),
    ] = 10_000,
    weights: Annotated[
        str, typer.Option(help=f"Name of a flow, or a weights file; default: {DEFAULT_WEIGHTS}.")
    ] = "",
    size: Size = "",
    method: Annotated[
        str,
        typer.Option(
            help="Sample by this method of `list methods` (md ...) instead of a flow.",
            autocompletion=installed_methods,
        ),
    ] = "",
    budget: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"Of --method: energy evaluations, as MD steps; default: {DEFAULT_METHOD_BUDGET:,}."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Of --method: key=value, as in friction_per_ps=2.")
    ] = None,
    temperature_kelvin: Temperature = 310.0,
    seed: Seed = 0,
    resample: Resample = False,
    weighting: WeightingOption = "smoothed",
    insist: Insist = False,
) -> None:
    """Sample a peptide with a trained flow, or with --method by MD or another sampler.

    Peptides are 2 to 50 natural L amino acids with charged ends, HIS with its hydrogen at the epsilon nitrogen; no caps
    (ACE, NME), D or N-methyl residues. The force field is amber14 with OBC1 implicit water, at 310 K by default. An
    .npz file holds energies and log-weights too; beside .xtc and .dcd stands a .pdb file that names the atoms.
    """
    from prosebench.peptide import check_sequence

    check_sequence(sequence)
    check_kelvin(temperature_kelvin, "--temperature")
    _check_options(method, weights=weights, size=size, budget=budget, set_=set_, insist=insist)
    from prosebench.frames.files import check_format, check_writable, folder_for_results

    check_format(path)
    with folder_for_results(path.parent) as is_new:
        check_writable(path)
        if method:
            steps = budget or DEFAULT_METHOD_BUDGET
            ensemble = _by_method(sequence, method, steps, n, temperature_kelvin, seed, set_ or [])
        else:
            ensemble = _by_flow(
                sequence, weights or DEFAULT_WEIGHTS, size, n, temperature_kelvin, seed, insist
            )
        if is_new:
            out.print(f"made the folder {path.parent}", soft_wrap=True)
        _write(ensemble, path, seed, weighting if resample else None)


@app.command()
def export(
    cell: Annotated[
        str, typer.Argument(help="Folder of a finished cell, or the beginning of its name or id.")
    ],
    path: Out,
    directory: Annotated[Path, typer.Option("--dir", help="Run folder in which to look.")] = Path("runs"),
    whole: Annotated[
        bool,
        typer.Option(
            "--all", help="Every frame that was kept; those of a trajectory stand closer together at first."
        ),
    ] = False,
    resample: Resample = False,
    weighting: WeightingOption = "smoothed",
    seed: Seed = 0,
) -> None:
    """Write the frames of a finished cell for other programs: of a trajectory, as many as are scored, evenly spaced."""
    from analysis.metrics.frames import thin
    from jobs.cells.prepare import peptide_of
    from jobs.cells.status import find_cell
    from prosebench.record import read_record

    folder = find_cell(cell, directory)
    if not (folder / "record.json").exists():
        fail(
            f"{folder} is not finished: `prosebench status {quote(str(folder.parent.parent))}` says how far it is"
        )
    record = read_record(folder)
    if record.status == "skipped":
        fail(f"{folder} has no frames: {record.reason}")
    if not (folder / "ensemble.npz").exists():
        fail(f"{folder} holds a record alone: its frames were not kept")
    ensemble = record.load_ensemble(folder)
    if ensemble.log_weights is None and not whole and len(ensemble) > record.cell.frames:
        out.print(
            f"{record.cell.frames:,} of {len(ensemble):,} frames, evenly spaced; --all writes every one of them"
        )
        ensemble = ensemble.select(thin(ensemble, record.cell.frames))
    ensemble = ensemble.of(peptide_of(folder.parent.parent, record.cell, ensemble))
    _write(ensemble, path, seed, weighting if resample else None)


def _check_options(method: str, **given: Any) -> None:
    """Refuse options of flows beside a method, and those of a method without one."""
    of_flow, of_method = ("weights", "size", "insist"), ("budget", "set_")
    wrong = [name for name in (of_flow if method else of_method) if given[name]]
    if wrong and method:
        fail(f"--{wrong[0]} is for flows and not for --method {method}; its settings are given with --set")
    if wrong:
        fail(f"--{wrong[0].rstrip('_')} is for --method; a flow makes -n proposals, one evaluation each")


def _by_method(
    sequence: str, method: str, budget: int, n: int, temperature_kelvin: float, seed: int, settings: list[str]
) -> "Ensemble":
    """Frames by a method; says what they cost and how far they go."""
    import numpy as np

    from prosebench.sampling import sample as sample_by

    for one in settings:
        if "=" not in one:
            fail(f"--set {one!r} is not of the form key=value, as in friction_per_ps=2")
    spent = 0
    with showing(f"0 of {budget:,} evaluations") as show:

        def watch(evaluations: int) -> None:
            nonlocal spent
            spent = evaluations
            show(f"{spent:,} of {budget:,} evaluations")

        ensemble = sample_by(
            sequence,
            method,
            budget=budget,
            frames=n,
            temperature_kelvin=temperature_kelvin,
            seed=seed,
            settings=dict(one.split("=", 1) for one in settings),
            watch=watch,
        )
    out.print(
        f"{len(ensemble):,} frames of {sequence} by {method}, {spent:,} energy evaluations, median energy "
        f"{np.median(ensemble.energies_kt):.1f} kT",
        soft_wrap=True,
    )
    if ensemble.log_weights is not None:
        k_hat = ensemble.k_hat
        out.print(
            f"effective sample size {ensemble.ess * len(ensemble):,.0f} of {len(ensemble):,} frames, {_of_tail(k_hat)}",
            soft_wrap=True,
        )
        _warn_of_tail(k_hat)
    return ensemble


def _by_flow(
    sequence: str, weights: str, size: str, n: int, temperature_kelvin: float, seed: int, insist: bool
) -> "Ensemble":
    """Weighted proposals of a flow."""
    from prosebench.flows.flow import as_peptide
    from prosebench.pretrained import load_flow

    peptide = as_peptide(sequence)
    flow = load_flow(weights, size=size or None)
    check_known(flow, weights, peptide, insist)
    if "set" in flow.source:
        others = ", ".join(flow.source["other_sets"])
        out.print(f"weights: {flow.source['set']} of {weights}, not {others}", soft_wrap=True)
    return _proposals(flow, peptide, n, temperature_kelvin, seed)


def _write(ensemble: "Ensemble", path: Path, seed: int, weighting: "Weighting | None") -> None:
    """Write frames, drawn by their weights where a weighting is named."""
    from prosebench.frames.files import check_writable, files_of

    check_writable(path)
    if weighting:
        ensemble = _drawn(ensemble, seed, weighting)
    elif path.suffix != ".npz" and ensemble.log_weights is not None:
        out.print(
            "these are proposals, without their weights: use --resample, or an .npz file, for averages",
            soft_wrap=True,
        )
    with warnings.catch_warnings(action="ignore"):
        ensemble.save(path)
    out.print(f"wrote {', '.join(str(one) for one in files_of(path))}", soft_wrap=True)


def _proposals(
    flow: "Flow[Any]", peptide: "Peptide", n: int, temperature_kelvin: float, seed: int
) -> "Ensemble":
    """Proposals with their weights; says how far they can be trusted."""
    import numpy as np

    from prosebench.flows.diagnostics import proposal_shares
    from prosebench.flows.flow import Proposals
    from prosebench.frames.importance import ess, pareto_k
    from prosebench.prose.flow import ProseProposals

    shares: list[dict[str, float]] = []
    published: list[np.ndarray] = []
    done = 0
    with showing(f"0 of {n:,} proposals") as show:

        def watch(proposals: Proposals, energies_kt: np.ndarray) -> None:
            nonlocal done
            counted = proposal_shares(proposals, energies_kt)
            shares.append({name: share * len(energies_kt) for name, share in counted.items()})
            if isinstance(proposals, ProseProposals):
                published.append(proposals.log_weights(energies_kt, "published"))
            done += len(energies_kt)
            show(f"{done:,} of {n:,} proposals")

        # Who does not insist has been refused before.
        ensemble = flow.sample(peptide, n, temperature_kelvin, seed, watch=watch, insist=True)
    assert ensemble.log_weights is not None
    share, k_hat = ess(ensemble.log_weights), pareto_k(ensemble.log_weights)
    of_centre = ""
    if published:
        of_centre = f"; {ess(np.concatenate(published)):.3%} with the published density of the centre"
    out.print(
        f"median energy {np.median(ensemble.energies_kt):.1f} kT; effective sample size {share * n:,.0f} of {n:,} "
        f"proposals ({share:.3%}{of_centre}), {_of_tail(k_hat)}",
        soft_wrap=True,
    )
    said = {"non-finite": "without a finite weight"}
    counts = (f"{round(sum(one[name] for one in shares)):,} {said.get(name, name)}" for name in shares[0])
    out.print(f"of {n:,} proposals {', '.join(counts)}", soft_wrap=True)
    _warn_of_tail(k_hat)
    return ensemble


def _of_tail(k_hat: float) -> str:
    """k-hat with what it says, and what it cannot say."""
    from prosebench.frames.importance import RELIABLE_PARETO_K, k_hat_text

    return (
        f"Pareto k-hat {k_hat_text(k_hat)}: from {RELIABLE_PARETO_K} on, the weights are not to be used; below, "
        "averages over them have errors that can be computed, but a state that no frame has reached stays unseen"
    )


def _warn_of_tail(k_hat: float) -> None:
    from prosebench.frames.importance import RELIABLE_PARETO_K

    if k_hat >= RELIABLE_PARETO_K:
        remark("warning:", "a few frames carry nearly all the weight: averages are not to be trusted")


def _drawn(ensemble: "Ensemble", seed: int, weighting: "Weighting") -> "Ensemble":
    import numpy as np

    drawn = ensemble.resampled(seed=seed, weighting=weighting)
    distinct = len(np.unique(drawn.positions_nm, axis=0))
    out.print(f"{len(drawn):,} frames drawn by weight, {distinct:,} of them distinct", soft_wrap=True)
    return drawn
