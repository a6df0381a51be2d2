"""Commands around the flow: sample, improve."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from pydantic import ValidationError

from prosebench.cli.options import app, err, fail, out

if TYPE_CHECKING:
    from prosebench.method import MethodSettings

Settings = TypeVar("Settings", bound="MethodSettings")
Temperature = Annotated[float, typer.Option("--temperature", min=1.0, help="In kelvin.")]

RELIABLE_K_HAT = 0.7


@app.command()
def sample(
    sequence: Annotated[str, typer.Argument(help="One-letter codes of the peptide.")],
    path: Annotated[Path, typer.Option("--out", help="File to write: .xtc, .dcd, .pdb or .npz.")],
    n: Annotated[
        int, typer.Option("-n", min=1, help="Proposals; each costs one energy evaluation.")
    ] = 10_000,
    weights: Annotated[str, typer.Option(help="Name of a model, or a weights file.")] = "prose-mini",
    size: Annotated[str, typer.Option(help="Size of a published file, where its name does not say it.")] = "",
    temperature_kelvin: Temperature = 310.0,
    seed: Annotated[int, typer.Option(help="Seed of the proposals.")] = 0,
    resample: Annotated[
        bool, typer.Option(help="Write n frames drawn by their weights instead of the proposals.")
    ] = False,
) -> None:
    """Sample a peptide with a trained flow; an .npz file holds energies and log-weights too."""
    import numpy as np

    from prosebench.importance import ess, k_hat_text, pareto_k
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
        f"median energy {np.median(ensemble.energies_kt):.1f} kT; effective sample size {share * n:,.0f} of {n:,} "
        f"proposals ({share:.3%}), Pareto k-hat {k_hat_text(k_hat)}; below 0.7 is reliable",
        soft_wrap=True,
    )
    if resample:
        ensemble = drawn_by_weight(ensemble, n, seed)
        distinct = len(np.unique(ensemble.positions_nm, axis=0))
        out.print(f"{n:,} frames drawn by weight, {distinct:,} of them distinct", soft_wrap=True)
    elif path.suffix != ".npz":
        out.print(
            "these are proposals, without their weights: use --resample, or an .npz file, for averages",
            soft_wrap=True,
        )
    if k_hat >= RELIABLE_K_HAT:
        err.print(
            "[yellow]warning:[/yellow] a few frames carry nearly all the weight: averages are not to be trusted",
            soft_wrap=True,
        )
    out.print(f"wrote {', '.join(str(one) for one in write_frames(path, peptide, ensemble))}", soft_wrap=True)


@app.command()
def improve(
    sequences: Annotated[list[str], typer.Argument(help="One-letter codes of one or more peptides.")],
    directory: Annotated[Path, typer.Option("--out", help="Folder for the ensembles and the tuned weights.")],
    budget: Annotated[
        int, typer.Option(min=1, help="Energy evaluations of each peptide, all rounds.")
    ] = 1_000_000,
    weights: Annotated[str, typer.Option(help="Name of a model, or a weights file.")] = "prose-mini",
    temperature_kelvin: Temperature = 310.0,
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

    settings = _settings(TuningSettings, set_ or [])
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


def _settings(kind: type[Settings], assignments: list[str]) -> Settings:
    """Settings from "key=value"; what is wrong is named."""
    for one in assignments:
        if "=" not in one:
            fail(f"--set {one!r} is not of the form key=value, as in rounds=2")
    try:
        return kind.model_validate(dict(one.split("=", 1) for one in assignments))
    except ValidationError as error:
        first, known = error.errors()[0], ", ".join(kind.model_fields)
        fail(f"--set {first['loc'][0]}: {first['msg']}; known: {known}")
