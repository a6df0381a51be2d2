"""The command that makes references: own ones by dynamics, or from the published data."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from prosebench.cli.options import (
    ClusterFile,
    Executor,
    Names,
    SuiteName,
    Temperatures,
    Workers,
    app,
    check_positive,
    check_suite_name,
    fail,
    kelvins,
    load_profile,
    out,
    remark,
    require_scheduler,
    showing,
    split,
    tell_unfinished,
    without_cluster,
)
from prosebench.names import check_kelvin

if TYPE_CHECKING:
    from jobs.cluster.profile import Cluster
    from jobs.making.reference_plan import ReferencePlan
    from prosebench.energy.settings import TargetSettings
    from prosebench.suite import Suite


# What the options of `reference` are, one line each there.
OutDir = Annotated[Path, typer.Option("--out", help="Folder for the finished references.")]
WorkDir = Annotated[Path, typer.Option("--dir", help="Run folder of the work behind them.")]
TemperingNs = Annotated[float, typer.Option(help="Parallel tempering, per replica.")]
MdNs = Annotated[float, typer.Option(help="Plain MD, per replica.")]
Ladders = Annotated[int, typer.Option(min=1, help="Independent ladders of tempering.")]
Hottest = Annotated[float, typer.Option(help="Hottest level of tempering, in kelvin.")]
Replicas = Annotated[int, typer.Option(min=1, help="Trajectories of plain MD.")]
LagNs = Annotated[float, typer.Option(help="Lag of TICA.")]
Frames = Annotated[int, typer.Option(min=2, help="Frames of a reference; half of them are scored against.")]
Flow = Annotated[
    str,
    typer.Option(help="Weights of the flow that takes replicas from basin to basin; empty: plain MD alone."),
]
FlowRounds = Annotated[int, typer.Option(min=1, help="Rounds of 2 ps and of draws of the flow.")]
FlowDraws = Annotated[int, typer.Option(min=1, help="Draws of the flow for each replica in a round.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the dynamics and of the draw.")]
Device = Annotated[Literal["cpu", "cuda"], typer.Option(help="Dynamics on the CPU, or on a GPU.")]
DryRun = Annotated[bool, typer.Option(help="Only estimate how long it will take.")]
Published = Annotated[bool, typer.Option(help="Take the published data (PROSEBENCH_DATA, or the hub).")]
Revision = Annotated[str, typer.Option(help="Tag or commit of the published data on the hub.")]
Follow = Annotated[bool, typer.Option(help="Wait for the jobs.")]
Training = Annotated[
    bool, typer.Option(help="Make training data of --peptides instead: frames of tempering, as shards.")
]


@app.command()
def reference(
    suite: SuiteName = "",
    peptides: Names = "",
    temperature: Temperatures = "",
    out_dir: OutDir = Path("references"),
    directory: WorkDir = Path("runs/references"),
    tempering_ns: TemperingNs = 1.0,
    md_ns: MdNs = 1.6,
    ladders: Ladders = 16,
    hottest: Hottest = 600.0,
    replicas: Replicas = 64,
    lag_ns: LagNs = 1.0,
    frames: Frames = 20_000,
    flow: Flow = "arbg-small",
    flow_rounds: FlowRounds = 96,
    flow_draws: FlowDraws = 3,
    seed: Seed = 0,
    workers: Workers = 0,
    device: Device = "cpu",
    dry_run: DryRun = False,
    published: Published = False,
    revision: Revision = "main",
    executor: Executor = "local",
    cluster: ClusterFile = "",
    follow: Follow = False,
    training: Training = False,
) -> None:
    """Make own references: parallel tempering, then plain MD and dynamics with a flow from its frames; resumable."""
    for option, value in (("--tempering-ns", tempering_ns), ("--md-ns", md_ns), ("--lag-ns", lag_ns)):
        check_positive(value, option)
    check_kelvin(hottest, "--hottest")
    if suite:
        check_suite_name(suite)
    wanted, at_kelvins = split(peptides, "--peptides"), kelvins(temperature)
    if training:
        _refuse_with_training(suite, temperature, dry_run, published, executor)
    if not dry_run:
        require_scheduler(executor)
    profile = load_profile(executor, cluster)
    from jobs.making.reference_plan import ReferencePlan
    from prosebench.suite import load_suite, narrow

    plan = ReferencePlan(
        ladders=ladders,
        hottest_kelvin=hottest,
        tempering_ns=tempering_ns,
        md_ns=md_ns,
        replicas=replicas,
        lag_ns=lag_ns,
        n_frames=frames,
        seed=seed,
        flow=flow,
        flow_rounds=flow_rounds,
        flow_draws=flow_draws,
    )
    if training:
        _training_data(wanted, plan, directory, out_dir, workers, device)
        return
    if not suite:
        fail("name a suite with --suite, or training peptides with --training --peptides AG,GA,...")
    chosen = narrow(load_suite(suite), peptides=wanted, temperatures=at_kelvins)
    if published:
        _published_references(chosen, out_dir, revision)
        return
    physics = _physics(chosen, device)
    plan = replace(plan, hottest_kelvin=max(plan.hottest_kelvin, 1.5 * physics.temperature_kelvin))
    missing = _missing(chosen, plan, physics, out_dir)
    if not missing:
        return
    plan.check(list(missing))
    if executor != "local" and not dry_run:
        _submit(missing, directory, profile, follow)
    else:
        _make_here(missing, plan, physics, directory, workers or _workers_on(physics.device), dry_run)


def _refuse_with_training(
    suite: str, temperature: str, dry_run: bool, published: bool, executor: str
) -> None:
    given = {
        "--suite": suite,
        "--temperature": temperature,
        "--dry-run": dry_run,
        "--published": published,
        "--executor": executor != "local",
    }
    unfit = ", ".join(name for name, is_given in given.items() if is_given)
    if unfit:
        fail(f"--training does not go with {unfit}: it tempers --peptides here, at 310 K")


def _physics(suite: "Suite", device: Literal["cpu", "cuda"]) -> "TargetSettings":
    """The one target of a suite, with its dynamics on a device."""
    physics, *others = suite.targets
    if others:
        fail(f"suite {suite.name} has several temperatures; name one with --temperature")
    return physics if device == "cpu" else physics.model_copy(update={"device": device})


def _missing(
    suite: "Suite", plan: "ReferencePlan", physics: "TargetSettings", out_dir: Path
) -> dict[str, Path]:
    """Peptides of a suite whose references are not there, with the files that they will be; says what will be done."""
    from prosebench.reference import reference_name

    paths = {
        sequence: out_dir / reference_name(sequence, physics.temperature_kelvin)
        for sequence in suite.peptides
    }
    missing = {sequence: path for sequence, path in paths.items() if not path.exists()}
    out.print(
        f"{len(missing)} references to make ({len(paths) - len(missing)} are there): tempering of "
        f"{plan.tempering_ns:g} ns a replica, then {plan.replicas} trajectories of {plan.md_ns:g} ns"
        + (f" and {plan.flow_replicas} replicas with {plan.flow}" if plan.flow else "")
        + ", each"
    )
    return missing


def _submit(missing: Mapping[str, Path], directory: Path, profile: "Cluster", follow: bool) -> None:
    """Make references in jobs of a cluster, each by this same command line for one peptide."""
    from jobs.cluster.remote import submit_each

    line = without_cluster(sys.argv[1:], "--peptides")
    need = profile.need("reference", "reference")
    workers = need.cores * need.workers
    commands = [[*line, "--peptides", sequence, "--workers", str(workers)] for sequence in missing]

    def progress() -> tuple[str, bool]:
        there = sum(path.exists() for path in missing.values())
        return f"{there} of {len(missing)} references made", there == len(missing)

    submit_each(commands, directory, profile, out, need=need, progress=progress if follow else None)
    left = [sequence for sequence, path in missing.items() if not path.exists()]
    if follow and left:
        fail(f"no job is left and these are not finished: {', '.join(left)}; the same command continues")


def _make_here(
    missing: Mapping[str, Path],
    plan: "ReferencePlan",
    physics: "TargetSettings",
    directory: Path,
    workers: int,
    dry_run: bool,
) -> None:
    """Say how long references will take, and make them on this machine."""
    from analysis.scores.convergence import assess, statement
    from jobs.cells.display import Progress, format_seconds
    from jobs.making.reference_plan import estimate_seconds
    from jobs.making.references import MadeReference, make_references

    seconds = 0.0
    with showing() as show:
        for number, sequence in enumerate(missing, start=1):
            show(f"timing a short trial of {sequence}, {number} of {len(missing)}")
            seconds += estimate_seconds([sequence], plan, physics)
    out.print(
        f"about {format_seconds(seconds)} of one core, {format_seconds(seconds / workers)} with {workers} workers"
    )
    if dry_run:
        return
    folders: list[Path] = []

    def watch_cells(new: list[Path]) -> Progress:
        folders.extend(new)
        return Progress(new, out)

    def finish(sequence: str, one: MadeReference) -> None:
        judged = assess(one.reference, one.trajectories, one.others)
        judged.save(missing[sequence])
        out.print(Text(f"\n{sequence}", "bold"), str(missing[sequence]), soft_wrap=True)
        out.print(statement(judged.convergence, judged.floor))

    make_references(
        list(missing), plan, physics, directory, workers=workers, watch_cells=watch_cells, finish=finish
    )
    tell_unfinished(folders)


def _workers_on(device: str) -> int:
    """Worker processes: one a core, or one alone on a GPU, which it fills."""
    return 1 if device == "cuda" else len(os.sched_getaffinity(0))


def _training_data(
    sequences: list[str],
    plan: "ReferencePlan",
    directory: Path,
    out_dir: Path,
    workers: int,
    device: Literal["cpu", "cuda"],
) -> None:
    """Temper each peptide and write its frames as shards; a plan's times and seed hold, its plain MD is left out."""
    from jobs.cells.display import Progress
    from jobs.making.training_data import make_training_data
    from prosebench.energy.settings import TargetSettings

    if not sequences:
        fail("--training needs the training peptides: --peptides AG,GA,...")

    def watch_cells(new: list[Path]) -> Progress:
        return Progress(new, out)

    frames = make_training_data(
        sequences,
        plan,
        TargetSettings(device=device),
        directory,
        out_dir,
        workers=workers or _workers_on(device),
        watch_cells=watch_cells,
    )
    missing = [sequence for sequence in sequences if sequence not in frames]
    if missing:
        fail(f"{', '.join(missing)} did not finish, so no shards were written; the same command continues")
    out.print(f"{sum(frames.values()):,} frames of {len(frames)} peptides in {out_dir}", soft_wrap=True)


def _published_references(suite: "Suite", out_dir: Path, revision: str) -> None:
    """Turn published data into reference files, of all peptides of a suite."""
    physics = next((target for target in suite.targets if target.temperature_kelvin == 310.0), None)
    if physics is None:
        fail("published data is at 310 K; make references of other temperatures without --published")
    for sequence in suite.peptides:
        _save_published(sequence, physics, out_dir, revision)


def _save_published(sequence: str, physics: "TargetSettings", out_dir: Path, revision: str = "main") -> None:
    """Turn published data into a reference file: energies are computed here, the noise floor too."""
    from analysis.scores.convergence import floor
    from prosebench.energy.settings import make_target
    from prosebench.reference import reference_name
    from prosebench.reference.published import read_published

    found = read_published(sequence, revision=revision)
    target = make_target(found.peptide, physics)
    made = found.to_reference(target.energy, physics.temperature_kelvin)
    judged = made.with_quality({}, floor(made, len(made)))
    path = out_dir / reference_name(sequence, physics.temperature_kelvin)
    judged.save(path)
    out.print(f"{sequence}: {len(made)} published frames in {path}", soft_wrap=True)


def take_published(sequences: Iterable[str], folders: Sequence[Path], run: Path | None = None) -> None:
    """Make references of the data in the folder that PROSEBENCH_DATA names, for peptides that have none at 310 K.

    They are kept in the first of the folders. For a run folder they also take the place of references that come with
    prosebench, unless cells of the peptide were begun there: the order of their atoms is fixed. One that cannot be read
    is named, and stops no other. Raises HubError where PROSEBENCH_DATA names no folder.
    """
    from prosebench.store.hub import data_folder

    if data_folder() is None:
        return
    from prosebench.energy.settings import TargetSettings
    from prosebench.names import PUBLISHED_KELVIN
    from prosebench.reference import InvalidReferenceError, MissingReferenceError
    from prosebench.store.places import has_reference, published_here

    def wanted(sequence: str) -> bool:
        if not has_reference(sequence, PUBLISHED_KELVIN, folders):
            return True
        own = any((folder / f"{sequence}.npz").is_file() for folder in folders)
        return run is not None and not own and not any(run.glob(f"peptides/{sequence}-*.npz"))

    for sequence in dict.fromkeys(sequences):
        if wanted(sequence) and published_here(sequence):
            try:
                _save_published(sequence, TargetSettings(), folders[0])
            except (InvalidReferenceError, MissingReferenceError) as error:
                remark(f"no reference of {sequence}:", str(error))
