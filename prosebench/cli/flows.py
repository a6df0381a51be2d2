"""Commands around the flow: sample, improve."""

from pathlib import Path
from typing import Annotated

import typer

from prosebench.cli.options import app, err, out


@app.command()
def sample(
    sequence: Annotated[str, typer.Argument(help="One-letter codes of the peptide.")],
    path: Annotated[Path, typer.Option("--out", help="File to write: .xtc, .dcd, .pdb or .npz.")],
    n: Annotated[int, typer.Option("-n", help="Proposals; each costs one energy evaluation.")] = 10_000,
    weights: Annotated[str, typer.Option(help="Name of a model, or a weights file.")] = "prose-mini",
    size: Annotated[str, typer.Option(help="Size of a published file, where its name does not say it.")] = "",
    temperature_kelvin: Annotated[float, typer.Option("--temperature", help="In kelvin.")] = 310.0,
    seed: Annotated[int, typer.Option(help="Seed of the proposals.")] = 0,
    resample: Annotated[
        bool, typer.Option(help="Write n frames drawn by their weights instead of the proposals.")
    ] = False,
) -> None:
    """Sample a peptide with a trained flow; an .npz file holds energies and log-weights too."""
    from prosebench.importance import ess, pareto_k
    from prosebench.prose import Prose
    from prosebench.prose.export import check_format, drawn_by_weight, write_frames
    from prosebench.prose.flow import as_peptide

    check_format(path)
    peptide = as_peptide(sequence)
    prose = Prose.from_pretrained(weights, size=size or None)
    if len(sequence) > prose.config.max_residues:
        err.print(f"{weights} was made for peptides of up to {prose.config.max_residues} residues")
    ensemble = prose.sample(peptide, n, temperature_kelvin, seed)
    assert ensemble.log_weights is not None
    share, k_hat = ess(ensemble.log_weights), pareto_k(ensemble.log_weights)
    out.print(
        f"effective sample size {share:.3%} of {n:,} proposals, Pareto k-hat {k_hat:.2f} (below 0.7 is reliable)"
    )
    if resample:
        ensemble = drawn_by_weight(ensemble, n, seed)
    elif path.suffix != ".npz":
        out.print("these are proposals, without their weights: use --resample, or an .npz file, for averages")
    out.print(f"wrote {', '.join(str(one) for one in write_frames(path, peptide, ensemble))}")


@app.command()
def improve(
    sequences: Annotated[list[str], typer.Argument(help="One-letter codes of one or more peptides.")],
    directory: Annotated[Path, typer.Option("--out", help="Folder for the ensembles and the tuned weights.")],
    budget: Annotated[int, typer.Option(help="Energy evaluations of each peptide, all rounds.")] = 1_000_000,
    weights: Annotated[str, typer.Option(help="Name of a model, or a weights file.")] = "prose-mini",
    temperature_kelvin: Annotated[float, typer.Option("--temperature", help="In kelvin.")] = 310.0,
    seed: Annotated[int, typer.Option(help="Seed of the proposals and of the draws.")] = 0,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value, as in rounds=2.")] = None,
) -> None:
    """Fine-tune a flow on its own weighted proposals of some peptides, then sample them with it."""
    from prosebench.energy.meter import Meter
    from prosebench.energy.settings import TargetSettings, make_target
    from prosebench.prose import Prose
    from prosebench.prose.flow import as_peptide
    from prosebench.prose.self_improvement import TuningSettings
    from prosebench.prose.self_improvement import improve as improve_flow
    from prosebench.prose.weights import save_weights

    settings = TuningSettings.model_validate(dict(one.split("=", 1) for one in set_ or []))
    peptides = [as_peptide(sequence) for sequence in sequences]
    physics = TargetSettings(temperature_kelvin=temperature_kelvin)
    meters = [Meter(make_target(peptide, physics), budget) for peptide in peptides]
    tuned, ensembles = improve_flow(
        Prose.from_pretrained(weights),
        peptides,
        meters,
        settings,
        seed=seed,
        watch=lambda done, sequence, efficiency: out.print(f"round {done}, {sequence}: ESS {efficiency:.3%}"),
    )
    for peptide, ensemble in zip(peptides, ensembles, strict=True):
        ensemble.save(directory / f"{peptide.sequence}.npz")
    notes = {
        "start": tuned.source,
        "peptides": sequences,
        "seed": seed,
        "settings": settings.model_dump(mode="json"),
    }
    save_weights(directory / "tuned.npz", tuned.network, notes)
    out.print(f"{budget:,} evaluations of each peptide; ensembles and tuned.npz are in {directory}")
