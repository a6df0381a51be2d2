"""Commands around the flow: sample, improve."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from prosebench.cli.options import app, check_kelvin, err, fail, out, showing

if TYPE_CHECKING:
    from prosebench.ensemble import Ensemble
    from prosebench.flows.flow import Flow
    from prosebench.method import MethodSettings
    from prosebench.peptide import Peptide
    from prosebench.prose import Prose
    from prosebench.prose.fine_tuning import TuningSettings

Settings = TypeVar("Settings", bound="MethodSettings")
Temperature = Annotated[float, typer.Option("--temperature", help="In kelvin.")]
Size = Annotated[str, typer.Option(help="Size of a published file, where its name does not say it.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the proposals and of the draws.")]

Insist = Annotated[
    bool, typer.Option("--insist", help="Also for a peptide beyond what the flow was trained on.")
]

TUNED, UNFINISHED = "tuned.npz", "unfinished"


@app.command()
def sample(
    sequence: Annotated[str, typer.Argument(help="One-letter codes of the peptide.")],
    path: Annotated[Path, typer.Option("--out", help="File to write: .xtc, .dcd, .pdb or .npz.")],
    n: Annotated[
        int, typer.Option("-n", min=1, help="Proposals; each costs one energy evaluation.")
    ] = 10_000,
    weights: Annotated[str, typer.Option(help="Name of a model, or a weights file.")] = "prose-mini",
    size: Size = "",
    temperature_kelvin: Temperature = 310.0,
    seed: Seed = 0,
    resample: Annotated[
        bool, typer.Option(help="Write n frames drawn by their weights instead of the proposals.")
    ] = False,
    weighting: Annotated[
        Literal["smoothed", "filtered"],
        typer.Option(help="Of --resample: Pareto-smoothed weights, or the published filter of the highest."),
    ] = "smoothed",
    insist: Insist = False,
) -> None:
    """Sample a peptide with a trained flow; an .npz file holds energies and log-weights too."""
    from prosebench.peptide import check_sequence

    check_sequence(sequence)
    check_kelvin(temperature_kelvin)
    from prosebench.flows.export import check_writable, write_frames
    from prosebench.flows.flow import as_peptide
    from prosebench.pretrained import load_flow

    is_new = not path.parent.exists()
    check_writable(path)
    if is_new:
        out.print(f"made the folder {path.parent}", soft_wrap=True, markup=False)
    peptide = as_peptide(sequence)
    flow = load_flow(weights, size=size or None)
    _check_known(flow, weights, peptide, insist)
    if "set" in flow.source:
        others = ", ".join(flow.source["other_sets"])
        out.print(f"weights: {flow.source['set']} of {weights}, not {others}", soft_wrap=True, markup=False)
    ensemble = _proposals(flow, peptide, n, temperature_kelvin, seed)
    if resample:
        ensemble = _drawn(ensemble, seed, weighting)
    elif path.suffix != ".npz":
        out.print(
            "these are proposals, without their weights: use --resample, or an .npz file, for averages",
            soft_wrap=True,
        )
    out.print(f"wrote {', '.join(str(one) for one in write_frames(path, peptide, ensemble))}", soft_wrap=True)


def _proposals(
    flow: "Flow[Any]", peptide: "Peptide", n: int, temperature_kelvin: float, seed: int
) -> "Ensemble":
    """Proposals with their weights; says how far they can be trusted."""
    import numpy as np

    from prosebench.flows.diagnostics import proposal_shares
    from prosebench.flows.flow import Proposals
    from prosebench.frames.importance import RELIABLE_PARETO_K, ess, k_hat_text, pareto_k
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
        f"proposals ({share:.3%}{of_centre}), "
        f"Pareto k-hat {k_hat_text(k_hat)}; below {RELIABLE_PARETO_K} is reliable",
        soft_wrap=True,
    )
    said = {"non-finite": "without a finite weight"}
    counts = (f"{round(sum(one[name] for one in shares)):,} {said.get(name, name)}" for name in shares[0])
    out.print(f"of {n:,} proposals {', '.join(counts)}", soft_wrap=True)
    if k_hat >= RELIABLE_PARETO_K:
        err.print(
            "[yellow]warning:[/yellow] a few frames carry nearly all the weight: averages are not to be trusted",
            soft_wrap=True,
        )
    return ensemble


def _drawn(ensemble: "Ensemble", seed: int, weighting: Literal["smoothed", "filtered"]) -> "Ensemble":
    import numpy as np

    from prosebench.flows.export import drawn_by_weight

    drawn = drawn_by_weight(ensemble, len(ensemble), seed, weighting)
    distinct = len(np.unique(drawn.positions_nm, axis=0))
    out.print(f"{len(drawn):,} frames drawn by weight, {distinct:,} of them distinct", soft_wrap=True)
    return drawn


def _check_known(flow: "Flow[Any]", weights: str, peptide: "Peptide", insist: bool) -> None:
    """Refuse a peptide that the flow does not know, or warn where the user insists."""
    if not insist:
        flow.check_known(peptide, weights)
    elif unknown := flow.unknown(peptide):
        err.print(f"[yellow]warning:[/yellow] {peptide.sequence}: {weights} {unknown}", soft_wrap=True)


@app.command()
def improve(
    sequences: Annotated[list[str], typer.Argument(help="One-letter codes of one or more peptides.")],
    directory: Annotated[Path, typer.Option("--out", help="Folder for the ensembles and the tuned weights.")],
    budget: Annotated[
        int, typer.Option(min=1, help="Energy evaluations of each peptide, all rounds.")
    ] = 1_000_000,
    weights: Annotated[str, typer.Option(help="Name of a model, or a weights file.")] = "prose-mini",
    size: Size = "",
    temperature_kelvin: Temperature = 310.0,
    seed: Seed = 0,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value, as in rounds=2.")] = None,
    insist: Insist = False,
) -> None:
    """Fine-tune a flow on its own weighted proposals of some peptides, then sample them with it.

    When it was stopped, the same command goes on where it was, from what is kept in the folder.
    """
    from prosebench.peptide import check_sequence

    for sequence in sequences:
        check_sequence(sequence)
    check_kelvin(temperature_kelvin)
    last: dict[str, float] = {}

    def tell(done: int, sequence: str, efficiency: float) -> None:
        last[sequence] = efficiency
        out.print(f"round {done}, {sequence}: ESS {efficiency:.3%}")

    from prosebench.energy.meter import Meter
    from prosebench.energy.settings import TargetSettings, make_target
    from prosebench.prose import Prose
    from prosebench.prose.fine_tuning import TuningSettings
    from prosebench.prose.flow import as_peptide
    from prosebench.prose.improve import improve as improve_flow

    settings = _settings(TuningSettings, set_ or [])
    peptides = [as_peptide(sequence) for sequence in dict.fromkeys(sequences)]
    files = [directory / f"{peptide.sequence}.npz" for peptide in peptides]
    _check_results(directory, files)
    start = Prose.from_pretrained(weights, size=size or None)
    for peptide in peptides:
        _check_known(start, weights, peptide, insist)
    physics = TargetSettings(temperature_kelvin=temperature_kelvin)
    notes = _notes(start, peptides, budget, temperature_kelvin, seed, settings)
    improve_flow(
        start,
        peptides,
        [Meter(make_target(peptide, physics), budget) for peptide in peptides],
        settings,
        seed=seed,
        folder=directory / UNFINISHED,
        watch=tell,
        resumed=partial(_say_resumed, directory / UNFINISHED),
        store=partial(_store_results, directory, files, notes),
    )
    out.print(f"{budget:,} evaluations of each peptide; ensembles and {TUNED} are in {directory}")
    if useless := [sequence for sequence, efficiency in last.items() if efficiency == 0.0]:
        err.print(f"[red]no proposal of {', '.join(useless)} has a finite weight:[/red] nothing was learned")
        raise typer.Exit(1)


def _check_results(directory: Path, files: list[Path]) -> None:
    """Refuse to begin where results are; of a run that was begun, they may be its own (see `_store`)."""
    from prosebench.flows.export import check_writable
    from prosebench.prose.checkpoint import begun

    if not begun(directory / UNFINISHED):
        for file in (*files, directory / TUNED):
            check_writable(file)


def _say_resumed(folder: Path, caution: str) -> None:
    out.print(f"continuing with {folder}", soft_wrap=True)
    if caution:
        err.print(f"[yellow]warning:[/yellow] {caution}", soft_wrap=True)


def _notes(
    start: "Prose",
    peptides: "list[Peptide]",
    budget: int,
    temperature_kelvin: float,
    seed: int,
    settings: "TuningSettings",
) -> dict[str, Any]:
    """Notes for the tuned weights; they know the residues that those they start from were trained on, if any."""
    residues = start.source.get("notes", {}).get("residues")
    return {
        "start": start.source,
        "peptides": [peptide.sequence for peptide in peptides],
        "budget": budget,
        "temperature_kelvin": temperature_kelvin,
        "seed": seed,
        "settings": settings.model_dump(mode="json"),
    } | ({"residues": residues} if residues else {})


def _store_results(
    directory: Path, files: list[Path], notes: dict[str, Any], tuned: "Prose", ensembles: "list[Ensemble]"
) -> None:
    """Write the ensembles and the tuned weights."""
    from prosebench.prose.weights import save_weights

    for file, ensemble in zip(files, ensembles, strict=True):
        _store(file, ensemble.save)
    _store(directory / TUNED, lambda path: save_weights(path, tuned.network, notes))


def _store(path: Path, save: Callable[[Path], str]) -> None:
    """Write a result; one of the same bytes is of this run, which was stopped before. ValueError for any other file."""
    from prosebench.store.storage import TEMPORARY_SUFFIX, file_sha256

    written = path.parent / UNFINISHED / f".{path.name}{TEMPORARY_SUFFIX}"
    sha256 = save(written)
    if path.exists() and file_sha256(path) != sha256:
        fail(f"{path} is there already and is not of this run: move it away, and repeat the command")
    written.replace(path)


def _settings(kind: type[Settings], assignments: list[str]) -> Settings:
    """Settings from "key=value"; what is wrong is named."""
    from pydantic import ValidationError

    for one in assignments:
        if "=" not in one:
            fail(f"--set {one!r} is not of the form key=value, as in rounds=2")
    try:
        return kind.model_validate(dict(one.split("=", 1) for one in assignments))
    except ValidationError as error:
        first, known = error.errors()[0], ", ".join(kind.model_fields)
        fail(f"--set {first['loc'][0]}: {first['msg']}; known: {known}")
