"""The command that tunes a flow: improve. What it shares with sample is here, too."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from prosebench.cli.options import app, fail, out, remark
from prosebench.names import check_kelvin

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


def check_known(flow: "Flow[Any]", weights: str, peptide: "Peptide", insist: bool) -> None:
    """Refuse a peptide that the flow does not know, or warn where the user insists."""
    if not insist:
        flow.check_known(peptide, weights)
    elif unknown := flow.unknown(peptide):
        remark("warning:", f"{peptide.sequence}: {weights} {unknown}")


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
    check_kelvin(temperature_kelvin, "--temperature")
    last: dict[str, float] = {}

    def tell(done: int, sequence: str, efficiency: float) -> None:
        last[sequence] = efficiency
        out.print(f"round {done}, {sequence}: ESS {efficiency:.3%}")

    from prosebench.energy.meter import Meter
    from prosebench.energy.settings import TargetSettings, make_target
    from prosebench.frames.files import folder_for_results
    from prosebench.prose import Prose
    from prosebench.prose.fine_tuning import TuningSettings
    from prosebench.prose.flow import as_peptide
    from prosebench.prose.improve import improve as improve_flow

    settings = _settings(TuningSettings, set_ or [])
    peptides = [as_peptide(sequence) for sequence in dict.fromkeys(sequences)]
    files = [directory / f"{peptide.sequence}.npz" for peptide in peptides]
    with folder_for_results(directory):
        _check_results(directory, files)
        start = Prose.from_pretrained(weights, size=size or None)
        for peptide in peptides:
            check_known(start, weights, peptide, insist)
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
    out.print(
        f"{budget:,} evaluations of each peptide; ensembles and {TUNED} are in {directory}", soft_wrap=True
    )
    if useless := [sequence for sequence, efficiency in last.items() if efficiency == 0.0]:
        remark(f"no proposal of {', '.join(useless)} has a finite weight:", "nothing was learned", "red")
        raise typer.Exit(1)


def _check_results(directory: Path, files: list[Path]) -> None:
    """Refuse to begin where results are; of a run that was begun, they may be its own (see `_store`)."""
    from prosebench.frames.files import check_writable
    from prosebench.prose.checkpoint import begun

    if not begun(directory / UNFINISHED):
        for file in (*files, directory / TUNED):
            check_writable(file)


def _say_resumed(folder: Path, caution: str) -> None:
    out.print(f"continuing with {folder}", soft_wrap=True)
    if caution:
        remark("warning:", caution)


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
    from prosebench.store.storage import write_arrays

    for file, ensemble in zip(files, ensembles, strict=True):
        _store(file, partial(write_arrays, arrays=ensemble.arrays()))
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

    from prosebench.store.fields import explained

    for one in assignments:
        if "=" not in one:
            fail(f"--set {one!r} is not of the form key=value, as in rounds=2")
    try:
        return kind.model_validate(dict(one.split("=", 1) for one in assignments))
    except ValidationError as error:
        fail(f"--set: {explained(error)}; known: {', '.join(kind.model_fields)}")
