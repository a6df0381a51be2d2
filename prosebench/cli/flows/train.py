"""The command that trains, here or as a job over nodes with GPUs."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prosebench.cli.options import (
    ClusterFile,
    Executor,
    app,
    fail,
    load_profile,
    out,
    remark,
    without_cluster,
)

if TYPE_CHECKING:
    from prosebench.training.recipe import Recipe


GPU_MEMORIES_GB = (24, 48, 80, 141)
"""Memory in GB of the GPUs that are common on clusters: A10 and the like, L40S, H100, H200."""


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe, or a path to a .toml file.")],
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Folder of the run; default: runs/<recipe>.")
    ] = None,
    minutes: Annotated[
        float, typer.Option(min=0.0, help="Stop after so long; the same command continues.")
    ] = 0.0,
    threads: Annotated[int, typer.Option(min=0, help="Threads of torch; 0: as torch likes.")] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, as in data.source=shards.")
    ] = None,
    executor: Executor = "local",
    cluster: ClusterFile = "",
    nodes: Annotated[int, typer.Option(min=1, help="On a cluster: nodes that train together.")] = 1,
    gpus: Annotated[
        int,
        typer.Option(min=0, help="On a cluster: GPUs on each node, a process each; 0: as the profile says."),
    ] = 0,
    follow: Annotated[
        bool, typer.Option(help="On a cluster: wait for the job and show how far it is.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how large steps are and what memory they need; do nothing.")
    ] = False,
) -> None:
    """Train a model by a recipe, from its last checkpoint on; under torchrun, with all its processes."""
    from prosebench.training.recipe import load_recipe

    followed = load_recipe(recipe, set_ or [])
    directory = directory or Path("runs") / Path(recipe).stem
    if dry_run:
        _describe_steps(followed)
    elif executor != "local":
        _submit(followed, directory, executor, cluster, nodes, gpus, follow)
    else:
        load_profile(executor, cluster)
        _train(followed, directory, minutes, threads)


def _describe_steps(recipe: "Recipe") -> None:
    """Print the size of a step and the memory that it needs, measured with a few frames on the CPU."""
    from prosebench.peptide import Peptide
    from prosebench.training.memory import step_memory

    peptide = Peptide.from_sequence("ARIP" if (recipe.data.longest or 4) >= 4 else "AR")
    found, data = step_memory(recipe, peptide), recipe.data
    out.print(
        f"{recipe.steps:,} steps of {data.batches * data.batch} frames for each process: {data.batches} batches of "
        f"{data.batch}, one after the other; {found.parameters:,} parameters, {recipe.precision}",
        soft_wrap=True,
    )
    each, batch_gb = found.frame_bytes / 2**20, data.batch * found.frame_bytes / 2**30
    out.print(
        f"memory: weights, gradients and optimiser {found.fixed_bytes / 2**30:.2f} GB; a frame of {peptide.sequence} "
        f"({found.atoms} atoms) {each:.1f} MB, {each / found.atoms:.3f} MB an atom; a batch {batch_gb:.1f} GB",
        soft_wrap=True,
    )
    for memory_gb in GPU_MEMORIES_GB:
        fitting = found.frames_that_fit(memory_gb * 2**30)
        verdict = "fits" if fitting >= data.batch else "does not fit: lower data.batch, raise data.batches"
        out.print(
            f"a GPU of {memory_gb} GB holds {fitting:,} such frames: data.batch = {data.batch} {verdict}",
            soft_wrap=True,
        )


def _submit(
    recipe: "Recipe", directory: Path, executor: str, cluster: str, nodes: int, gpus: int, follow: bool
) -> None:
    """Hand the training run to the scheduler; a finished one is left alone."""
    from jobs.cluster.commands import MODEL
    from jobs.cluster.remote import submit_each
    from prosebench.training.curve import read_curve

    profile = load_profile(executor, cluster)
    if (directory / MODEL).exists():
        out.print(f"{directory / MODEL} is there: this run is finished", soft_wrap=True)
        return
    need = profile.need("train", "train").with_gpus(gpus)
    curve = directory / "curve.csv"

    def progress() -> tuple[str, bool]:
        finished = (directory / MODEL).exists()
        rows = read_curve(curve) if curve.exists() else []
        return _describe(rows[-1], recipe.steps) if rows else f"step 0 of {recipe.steps:,}", finished

    submit_each(
        [without_cluster(sys.argv[1:], "--nodes", "--gpus")],
        directory,
        profile,
        out,
        need=need,
        nodes=nodes,
        processes=need.workers,
        progress=progress if follow else None,
    )
    if follow and not (directory / MODEL).exists():
        fail(
            f"no job is left and {directory / MODEL} is not there; read {directory}/jobs/*/logs, then run again"
        )


def _train(recipe: "Recipe", directory: Path, minutes: float, threads: int) -> None:
    """Train in this process, or be one of those that torchrun has started."""
    import torch

    from jobs.cells.display import format_seconds
    from jobs.cells.signals import listen, stop_asked
    from prosebench.training.loop import Training

    torch.set_num_threads(threads or torch.get_num_threads())

    def say(row: dict[str, float]) -> None:
        out.print(_describe(row, recipe.steps), soft_wrap=True)

    training = Training(recipe, directory, watch=say, should_stop=lambda: bool(stop_asked()))
    first = training.processes.first
    if training.progress.step and first:
        out.print(
            f"continuing after step {training.progress.step:,} of {training.checkpoint}", soft_wrap=True
        )
    # Only now: until the processes have met, one that is told to end should do so.
    listen()
    try:
        progress = training.run(stop_seconds=60.0 * minutes if minutes else math.inf)
    except FloatingPointError as error:
        fail(str(error))
    if first:
        for name, reason in list(progress.faults.items())[:5]:
            remark("left out:", f"{name}: {reason}")
        out.print(
            f"{progress.step:,} steps, {progress.frames:,} frames, {format_seconds(progress.seconds)}; "
            f"{progress.skipped} steps left out, {len(progress.faults)} faults in the data; see {directory}",
            soft_wrap=True,
        )
    training.processes.leave()


def _describe(row: dict[str, float], steps: int) -> str:
    """A row of the curve in words."""
    from jobs.cells.display import format_seconds

    rate, done = row["frames"] / row["seconds"], row["step"] / steps
    left = format_seconds(row["seconds"] / done * (1.0 - done))
    words = [f"{name} {row[name]:.4g}" for name in ("nll", "ess", "median-energy") if name in row]
    return (
        f"step {row['step']:,.0f} of {steps:,} ({done:.1%}), loss {row['loss']:.4f}, "
        f"{rate:,.0f} frames/s, {left} left{'; ' if words else ''}{', '.join(words)}"
    )
