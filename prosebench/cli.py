"""The commands. The only file that sees every other folder; each command is a few calls into them."""

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from prosebench.storage import DamagedFile
from prosebench.suite import Suite, SuiteError, load_suite, narrow, suite_names

if TYPE_CHECKING:
    from jobs.cluster import Cluster
    from prosebench.record import Cell

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Which sampler of molecular Boltzmann distributions is better, at equal cost, and by how much?",
)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

OWN_REFERENCES = Path("references")

Names = Annotated[str, typer.Option(help="Comma-separated; default: all of the suite.")]
SuiteName = Annotated[str, typer.Option(help="Name of a shipped suite, or a path to a .toml file.")]
Directory = Annotated[Path, typer.Argument(help="Run folder.")]
Budgets = Annotated[str, typer.Option(help="Comma-separated numbers of evaluations.")]
Seeds = Annotated[str, typer.Option(help="Comma-separated.")]
Assignments = Annotated[list[str] | None, typer.Option("--set", help="row.key=value; may be repeated.")]
RunFolder = Annotated[Path | None, typer.Option("--dir", help="Run folder; default: runs/<suite>.")]
RetryParked = Annotated[bool, typer.Option(help="Try again what failed three times.")]
Executor = Annotated[str, typer.Option(help="local, or slurm: arrays of jobs on a cluster.")]
ClusterFile = Annotated[
    str, typer.Option("--cluster", help="Cluster profile: path of a .toml file, or a shipped example.")
]
References = Annotated[
    list[Path] | None,
    typer.Option("--references", help="Folder with reference files (default: references); may be repeated."),
]


def main() -> None:
    """Entry point of the `prosebench` command: known errors are one line on stderr and exit code 2."""
    try:
        app()
    except (SuiteError, DamagedFile, OSError, ValueError) as error:
        err.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except SystemExit as ending:
        # This is what typer makes of Ctrl-C.
        if ending.code == 130:
            err.print("stopped; the same command continues where this one ended")
        raise


@app.command()
def run(
    suite: SuiteName,
    directory: RunFolder = None,
    methods: Names = "",
    peptides: Names = "",
    budgets: Budgets = "",
    seeds: Seeds = "",
    set_: Assignments = None,
    workers: Annotated[int, typer.Option(help="Worker processes; 0: one a core.")] = 0,
    references: References = None,
    retry_parked: RetryParked = False,
    report_: Annotated[
        bool, typer.Option("--report/--no-report", help="Score and report at the end.")
    ] = True,
    executor: Executor = "local",
    cluster: ClusterFile = "",
    follow: Annotated[bool, typer.Option(help="Wait for the jobs and show how far they are.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Only show what would be run, and what it costs.")] = False,
) -> None:
    """Run the missing cells of a suite, here or on a cluster, then score them and print the table."""
    from jobs.display import Progress
    from jobs.launch import run_local, threads_per_worker
    from jobs.plan import plan_cells
    from jobs.remote import show_plan, submit_and_follow
    from jobs.slurm import make_plan

    profile = _profile(executor, cluster)
    chosen = _narrowed(suite, methods, peptides, budgets, seeds, set_)
    directory, cells = directory or Path("runs") / chosen.name, plan_cells(chosen)
    if dry_run:
        show_plan(make_plan(cells, directory, profile), out)
        return
    folders = _lay_out(cells, directory, retry_parked)
    number = workers or len(os.sched_getaffinity(0))
    out.print(
        f"{chosen.name}: {len(folders)} cells ({len(chosen.methods)} methods, {len(chosen.peptides)} peptides, "
        f"budgets {', '.join(f'{budget:,}' for budget in chosen.budgets)}) in {directory}"
    )
    if executor == "slurm":
        submit_and_follow(cells, directory, profile, references or [OWN_REFERENCES], out, followed=follow)
        if not follow:
            return
    else:
        with Progress(folders, out) as progress:
            run_local(
                folders,
                directory,
                workers=number,
                threads=threads_per_worker(number),
                reference_folders=references or [OWN_REFERENCES],
                watch=progress,
            )
    if report_:
        _report(directory, references or [OWN_REFERENCES], number)
    _tell_unfinished(folders)


@app.command()
def submit(
    suite: SuiteName,
    cluster: ClusterFile,
    directory: RunFolder = None,
    methods: Names = "",
    peptides: Names = "",
    budgets: Budgets = "",
    seeds: Seeds = "",
    set_: Assignments = None,
    references: References = None,
    retry_parked: RetryParked = False,
    script: Annotated[Path, typer.Option("--out", help="Script to write.")] = Path("prosebench.array"),
) -> None:
    """Write plain array scripts for `sbatch` that do what `run --executor slurm` would submit."""
    from jobs.plan import plan_cells
    from jobs.remote import write_and_tell

    chosen = _narrowed(suite, methods, peptides, budgets, seeds, set_)
    directory, cells = directory or Path("runs") / chosen.name, plan_cells(chosen)
    _lay_out(cells, directory, retry_parked)
    write_and_tell(cells, directory, _profile("slurm", cluster), references or [OWN_REFERENCES], script, out)


@app.command()
def cancel(directory: Directory) -> None:
    """End all jobs of a run folder; what they stored stays."""
    from jobs.remote import cancel_jobs

    cancel_jobs(directory, out)


@app.command()
def status(directory: Directory) -> None:
    """Where each cell of a run folder stands: from the disk, and from SLURM where it answers."""
    from jobs.display import status_tables
    from jobs.hints import ask_scheduler
    from jobs.status import read_states

    states, queue = ask_scheduler(read_states(directory), directory)
    if not states:
        _fail(f"{directory} holds no cells; `prosebench run --dir {directory}` makes some")
    for table in status_tables(states):
        out.print(table)
    if queue:
        out.print(queue)


@app.command()
def show(
    cell: Annotated[str, typer.Argument(help="Folder of a cell, or the beginning of its name or id.")],
    directory: Annotated[Path, typer.Option("--dir", help="Run folder in which to look.")] = Path("runs"),
) -> None:
    """Everything about one cell: what was asked, what was done, spent and where."""
    from jobs.status import find_cell
    from prosebench.storage import read_json

    folder = find_cell(cell, directory)
    out.print(f"[bold]{folder}[/bold]")
    for name in ("cell.json", "record.json", "provenance.json", "failure.json", "heartbeat.json"):
        path = folder / name
        if path.exists() and not (name == "cell.json" and (folder / "record.json").exists()):
            out.print(f"\n[bold]{name}[/bold]")
            out.print_json(data=read_json(path))


@app.command("list")
def list_(what: Annotated[str, typer.Argument(help="suites, methods or peptides")]) -> None:
    """List suites, methods, or the peptides of each suite."""
    from prosebench.method import load_method, method_entry_points

    table = Table(box=None, pad_edge=False)
    if what == "suites":
        for heading in ("suite", "peptides", "budgets", "seeds", "description"):
            table.add_column(heading)
        for name in suite_names():
            suite = load_suite(name)
            budgets = ", ".join(f"{budget:,}" for budget in suite.budgets)
            table.add_row(name, str(len(suite.peptides)), budgets, str(len(suite.seeds)), suite.description)
    elif what == "methods":
        for heading in ("method", "from", "what it is"):
            table.add_column(heading)
        for name, point in method_entry_points().items():
            table.add_row(name, point.value, (load_method(name).__doc__ or "").splitlines()[0])
    elif what == "peptides":
        for heading in ("suite", "peptides"):
            table.add_column(heading)
        for name in suite_names():
            table.add_row(name, " ".join(load_suite(name).peptides))
    else:
        _fail(f"cannot list {what!r}; known: suites, methods, peptides")
    out.print(table)


@app.command()
def score(
    what: Annotated[
        Path, typer.Argument(help="Run folder, ensemble (.npz), or trajectory that mdtraj reads.")
    ],
    peptide: Annotated[str, typer.Option(help="Sequence; needed for an ensemble or a trajectory.")] = "",
    topology: Annotated[Path | None, typer.Option(help="PDB file that names a trajectory's atoms.")] = None,
    frames: Annotated[int, typer.Option(help="Frames to score of an ensemble or a trajectory.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of the resampling of weighted frames.")] = 0,
    temperature_kelvin: Annotated[
        float, typer.Option(help="Temperature at which energies are reduced.")
    ] = 310.0,
    references: References = None,
    executor: Executor = "local",
    cluster: ClusterFile = "",
    jobs: Annotated[int, typer.Option(help="Jobs over which a run folder is spread.")] = 8,
    share: Annotated[
        str, typer.Option(help="i/n: only every n-th cell, from the i-th on.", hidden=True)
    ] = "",
) -> None:
    """Score the records of a run folder, or any ensemble or trajectory, against the reference."""
    if what.is_dir():
        from analysis.scores import score_run, write_scores

        if share:
            _score_share(what, references or [OWN_REFERENCES], share)
            return
        if executor == "slurm":
            shares = [
                [*_without_cluster(sys.argv[1:]), "--share", f"{index}/{jobs}"] for index in range(jobs)
            ]
            _submit_each(shares, what, _profile(executor, cluster), "score", follow=True)
        out.print(f"scores: {write_scores(what, score_run(what, references or [OWN_REFERENCES]))}")
        return
    if not peptide:
        _fail(f"{what} does not say which peptide it is of; name it with --peptide")
    from analysis.external import score_file

    result = score_file(
        what,
        peptide,
        topology=topology,
        n_frames=frames,
        seed=seed,
        temperature_kelvin=temperature_kelvin,
        reference_folders=references or [OWN_REFERENCES],
    )
    table = Table("metric", "value", box=None, pad_edge=False)
    for name, value in result.items():
        table.add_row(name, f"{value:.6g}")
    out.print(table)


@app.command()
def report(
    directory: Directory,
    references: References = None,
    against: Annotated[str, typer.Option(help="Compare every row with this one; default: all pairs.")] = "",
    allow_unequal: Annotated[
        str,
        typer.Option(
            help="Compare all the same, and mark it, what differs in these: budget,frames,peptides."
        ),
    ] = "",
    formats: Annotated[str, typer.Option(help="Of the figures; png must be among them.")] = "png,pdf,svg",
) -> None:
    """Score a run folder and write its tables and figures."""
    from analysis.report import write_report

    written = write_report(
        directory,
        references or [OWN_REFERENCES],
        workers=len(os.sched_getaffinity(0)),
        against=against or None,
        allow=_split(allow_unequal),
        formats=_split(formats),
    )
    out.print(written.table)
    out.print(f"tables and figures: {written.directory}")


@app.command()
def reference(
    suite: SuiteName,
    peptides: Names = "",
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the finished references.")] = Path(
        "references"
    ),
    directory: Annotated[Path, typer.Option("--dir", help="Run folder of the work behind them.")] = Path(
        "runs/references"
    ),
    tempering_ns: Annotated[float, typer.Option(help="Parallel tempering, per replica.")] = 2.0,
    md_ns: Annotated[float, typer.Option(help="Plain MD, per replica.")] = 3.2,
    replicas: Annotated[int, typer.Option(help="Trajectories of plain MD.")] = 64,
    lag_ns: Annotated[float, typer.Option(help="Lag of TICA.")] = 1.0,
    frames: Annotated[
        int, typer.Option(help="Frames of a reference; half of them are scored against.")
    ] = 20_000,
    seed: Annotated[int, typer.Option(help="Seed of the dynamics and of the draw.")] = 0,
    workers: Annotated[int, typer.Option(help="Worker processes; 0: one a core.")] = 0,
    dry_run: Annotated[bool, typer.Option(help="Only estimate how long it will take.")] = False,
    published: Annotated[
        bool, typer.Option(help="Take the published data (PROSEBENCH_DATA, or the hub).")
    ] = False,
    revision: Annotated[str, typer.Option(help="Tag or commit of the published data on the hub.")] = "main",
    executor: Executor = "local",
    cluster: ClusterFile = "",
    follow: Annotated[bool, typer.Option(help="Wait for the jobs.")] = False,
) -> None:
    """Make own references: parallel tempering, then plain MD from its frames; resumable."""
    from analysis.convergence import assess, statement
    from jobs.display import Progress, format_seconds
    from jobs.references import ReferencePlan, estimate_seconds, make_references
    from prosebench.peptide import Peptide

    chosen = narrow(load_suite(suite), peptides=_split(peptides))
    if published:
        _published_references(chosen, out_dir, revision)
        return
    plan = ReferencePlan(
        tempering_ns=tempering_ns, md_ns=md_ns, replicas=replicas, lag_ns=lag_ns, n_frames=frames, seed=seed
    )
    missing = [sequence for sequence in chosen.peptides if not (out_dir / f"{sequence}.npz").exists()]
    number = workers or len(os.sched_getaffinity(0))
    total_ns = (plan.tempering_evaluations + plan.md_evaluations) / 1e6
    out.print(
        f"{len(missing)} references to make ({len(chosen.peptides) - len(missing)} are there), {total_ns:.0f} ns each"
    )
    if not missing:
        return
    if executor == "slurm" and not dry_run:
        profile, line = _profile(executor, cluster), _without_cluster(sys.argv[1:], "--peptides")
        cores = profile.need("reference", "reference").cores
        commands = [[*line, "--peptides", sequence, "--workers", str(cores)] for sequence in missing]
        _submit_each(commands, directory, profile, "reference", follow=follow)
        return
    seconds = estimate_seconds(missing, plan, chosen.target)
    out.print(
        f"about {format_seconds(seconds)} of one core, {format_seconds(seconds / number)} with {number} workers"
    )
    if dry_run:
        return
    folders: list[Path] = []

    def watch_cells(new: list[Path]) -> Progress:
        folders.extend(new)
        return Progress(new, out)

    made = make_references(missing, plan, chosen.target, directory, workers=number, watch_cells=watch_cells)
    for sequence, one in made.items():
        topology = Peptide.from_sequence(sequence).topology
        judged = assess(one.reference, one.trajectories, one.tempering, topology)
        judged.save(out_dir / f"{sequence}.npz")
        out.print(
            f"\n[bold]{sequence}[/bold] {out_dir / sequence}.npz\n{statement(judged.convergence, judged.floor)}"
        )
    _tell_unfinished(folders)


def _published_references(suite: Suite, out_dir: Path, revision: str) -> None:
    """Turn published data into reference files: energies are computed here, the noise floor too."""
    from analysis.convergence import floor
    from prosebench.energy.settings import make_target
    from prosebench.published import read_published

    for sequence in suite.peptides:
        found = read_published(sequence, revision=revision)
        target = make_target(found.peptide, suite.target)
        made = found.to_reference(target.energy, suite.target.temperature_kelvin)
        judged = made.with_quality({}, floor(made, found.peptide.topology, len(made)))
        judged.save(out_dir / f"{sequence}.npz")
        out.print(f"{sequence}: {len(made)} frames in {out_dir / sequence}.npz")


def _narrowed(
    suite: str, methods: str, peptides: str, budgets: str, seeds: str, settings: list[str] | None
) -> Suite:
    """The suite that the options of a command describe, checked."""
    chosen = narrow(
        load_suite(suite),
        methods=_split(methods),
        peptides=_split(peptides),
        budgets=_numbers(budgets, "--budgets"),
        seeds=_numbers(seeds, "--seeds"),
        settings=settings or [],
    )
    chosen.check()
    return chosen


def _lay_out(cells: "list[Cell]", directory: Path, retry_parked: bool) -> list[Path]:
    """Make the folders of the cells, after setting aside what is damaged or foreign."""
    from jobs.failures import forget_failure
    from jobs.plan import lay_out, set_foreign_aside

    for warning in set_foreign_aside(directory):
        err.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True)
    folders = lay_out(cells, directory)
    for folder in folders if retry_parked else []:
        forget_failure(folder)
    return folders


def _submit_each(
    commands: list[list[str]], directory: Path, profile: "Cluster", method: str, *, follow: bool
) -> None:
    from jobs.remote import submit_each

    submit_each(commands, directory, profile, out, method=method, followed=follow)


def _without_cluster(line: list[str], *more: str) -> list[str]:
    """A command line without the options that send it to a cluster, and without `more`."""
    kept, words = [], iter(line)
    for word in words:
        name, equals, _ = word.partition("=")
        if name in ("--executor", "--cluster", "--jobs", "--workers", *more):
            if not equals:
                next(words, None)
        elif name not in ("--follow", "--no-follow"):
            kept.append(word)
    return kept


def _score_share(directory: Path, references: list[Path], share: str) -> None:
    """Score some cells of a run folder into its cache of scores."""
    import tempfile

    from analysis.scores import score_run
    from prosebench.record import cell_folders

    index, number = map(int, share.split("/"))
    with tempfile.TemporaryDirectory() as scratch:
        part = Path(scratch)
        (part / "cells").mkdir()
        (directory / "scores").mkdir(exist_ok=True)
        (part / "scores").symlink_to((directory / "scores").resolve())
        for folder in cell_folders(directory)[index::number]:
            (part / "cells" / folder.name).symlink_to(folder.resolve())
        score_run(part, references)


def _profile(executor: str, cluster: str) -> "Cluster":
    from jobs.cluster import Cluster, load_cluster

    if executor not in ("local", "slurm"):
        _fail(f"unknown --executor {executor!r}; known: local, slurm")
    if executor == "slurm" and not cluster:
        _fail("--executor slurm needs --cluster FILE: a profile of your cluster (see docs/cluster.md)")
    return load_cluster(cluster) if cluster else Cluster()


def _tell_unfinished(folders: list[Path]) -> NoReturn:
    """Say what did not finish, and exit with 1 where anything did not."""
    from jobs.hints import ask_scheduler
    from jobs.status import read_state

    states = [read_state(folder) for folder in folders]
    if states:
        states, _ = ask_scheduler(states, folders[0].parent.parent)
    unfinished = [state for state in states if state.state not in ("done", "skipped")]
    for state in unfinished:
        err.print(
            f"[red]{state.state}:[/red] {escape(f'{state.folder.name}: {state.reason}')}", soft_wrap=True
        )
    raise typer.Exit(1 if unfinished else 0)


@app.command()
def check(method: Annotated[str, typer.Argument(help="Name of an installed method.")]) -> None:
    """Run the contract suite on a method: budgets, restarts, seeds, and moments on a target with known answers."""
    import tempfile

    from prosebench.contract import check_contract

    broken = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, passed, seen in check_contract(method, Path(scratch)):
            broken += not passed
            out.print(
                f"{'[green]pass[/green]' if passed else '[red]FAIL[/red]'}  {name}: {escape(seen)}",
                soft_wrap=True,
            )
    out.print(
        f"{method} {'holds to the contract' if not broken else f'breaks the contract in {broken} places'}"
    )
    raise typer.Exit(1 if broken else 0)


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


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe, or a path to a .toml file.")],
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Folder of the run; default: runs/<recipe>.")
    ] = None,
    minutes: Annotated[float, typer.Option(help="Stop after so long; the same command continues.")] = 0.0,
    threads: Annotated[int, typer.Option(help="Threads of torch; 0: as torch likes.")] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, as in data.source=shards.")
    ] = None,
) -> None:
    """Train a model by a recipe, from its last checkpoint on; under torchrun, with all its processes."""
    import math

    import torch

    from jobs.display import format_seconds
    from jobs.signals import listen, stop_asked
    from prosebench.training.loop import Training
    from prosebench.training.recipe import load_recipe

    torch.set_num_threads(threads or torch.get_num_threads())
    listen()
    followed = load_recipe(recipe, set_ or [])

    def say(row: dict[str, float]) -> None:
        rate, done = row["frames"] / row["seconds"], row["step"] / followed.steps
        left = format_seconds(row["seconds"] / done * (1.0 - done))
        words = [f"{name} {row[name]:.4g}" for name in ("nll", "ess", "median-energy") if name in row]
        out.print(
            f"step {row['step']:,.0f} of {followed.steps:,} ({done:.1%}), loss {row['loss']:.4f}, "
            f"{rate:,.0f} frames/s, {left} left{'; ' if words else ''}{', '.join(words)}",
            soft_wrap=True,
        )

    training = Training(
        followed,
        directory or Path("runs") / Path(recipe).stem,
        watch=say,
        should_stop=lambda: bool(stop_asked()),
    )
    if training.progress.step:
        out.print(f"continuing after step {training.progress.step:,} of {training.checkpoint}")
    progress = training.run(stop_seconds=60.0 * minutes if minutes else math.inf)
    for name, reason in list(training.data.faults.items())[:5]:
        err.print(f"[yellow]left out:[/yellow] {escape(f'{name}: {reason}')}", soft_wrap=True)
    out.print(
        f"{progress.step:,} steps, {progress.frames:,} frames, {format_seconds(progress.seconds)}; "
        f"{progress.skipped} steps left out, {len(training.data.faults)} faults in the data; see {training.directory}"
    )
    training.processes.leave()


bench = typer.Typer(
    no_args_is_help=True, help="Measure speed on this machine; ratios within one run are what to quote."
)
app.add_typer(bench, name="bench")


@bench.command("energy")
def bench_energy_(
    peptides: Annotated[str, typer.Option(help="Comma-separated sequences.")] = "AA,ARIP,ISKCKNGE",
    threads: Annotated[str, typer.Option(help="Comma-separated numbers of threads.")] = "1,2",
    rounds: Annotated[int, typer.Option(help="Interleaved rounds; medians are over them.")] = 7,
) -> None:
    """OpenMM and the batched energy side by side: energy, energy with gradient, and MD step."""
    from prosebench.energy.bench import bench_energy

    _print_rows(bench_energy(tuple(_split(peptides)), tuple(_numbers(threads, "--threads")), rounds=rounds))


@bench.command("calibration")
def bench_calibration(
    target: Annotated[Path, typer.Option("--out", help="Folder for the table and the figure.")] = Path(
        "runs/calibration"
    ),
    trials: Annotated[int, typer.Option(help="Trials of each rate.")] = 1000,
) -> None:
    """How often the intervals of the tables hold the truth, and how often a perfect sampler is declared worse."""
    from analysis.calibration import write_calibration

    table = Table("what", "peptides", "seeds", "rate", "nominal", box=None, pad_edge=False)
    for one in write_calibration(target, trials):
        numbers = (
            str(one.peptides),
            str(one.seeds),
            f"{one.rate:.1%} ± {one.error:.1%}",
            f"{one.nominal:.0%}",
        )
        table.add_row(one.what, *numbers)
    out.print(table)
    out.print(f"table and figure: {target}")


@bench.command("inverse")
def bench_inverse_(
    sizes: Annotated[
        str, typer.Option(help="Comma-separated sizes of flows; weights are random.")
    ] = "prose-8aa",
    peptides: Annotated[str, typer.Option(help="Comma-separated sequences.")] = "AA,ARIP,ISKCKNGE",
    batches: Annotated[str, typer.Option(help="Comma-separated batch sizes.")] = "64,256",
    rounds: Annotated[int, typer.Option(help="Interleaved rounds; medians are over them.")] = 3,
    blocks: Annotated[int, typer.Option(help="Measure this many blocks and scale up; 0: all.")] = 0,
    layers: Annotated[int, typer.Option(help="Measure this many layers a block and scale up; 0: all.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda ...")] = "cpu",
) -> None:
    """Sampling speed of the flow, beside the matrix rate of this machine and the straightforward way."""
    from prosebench.prose.bench import bench_inverse

    _print_rows(
        bench_inverse(
            _split(sizes),
            _split(peptides),
            _numbers(batches, "--batches"),
            rounds=rounds,
            blocks=blocks or None,
            layers=layers or None,
            device=device,
        )
    )


@bench.command("training")
def bench_training_(
    sizes: Annotated[str, typer.Option(help="Comma-separated sizes of flows.")] = "prose-mini",
    peptides: Annotated[str, typer.Option(help="Comma-separated sequences.")] = "AA",
    batches: Annotated[str, typer.Option(help="Comma-separated batch sizes.")] = "256",
    precision: Annotated[str, typer.Option(help="bfloat16 or float32.")] = "bfloat16",
    compile_: Annotated[
        str, typer.Option("--compile", help="no, or layers (takes minutes at first).")
    ] = "no",
    seconds: Annotated[float, typer.Option(help="So long each is measured.")] = 10.0,
) -> None:
    """Training speed of flows, and its share of the matrix rate of this machine."""
    from prosebench.training.bench import bench_training
    from prosebench.training.recipe import load_recipe

    settings = [f"precision={precision}", f"compile={compile_}"]
    models = [{"size": size} for size in _split(sizes)]
    _print_rows(
        bench_training(
            load_recipe("prose-8aa", settings),
            models,
            _split(peptides),
            _numbers(batches, "--batches"),
            seconds=seconds,
        )
    )


def _print_rows(rows: Sequence[Mapping[str, str | int | float]]) -> None:
    table = Table(box=None, pad_edge=False)
    for name, value in rows[0].items():
        justify: Literal["left", "right"] = "left" if isinstance(value, str) else "right"
        table.add_column(name.replace("_", "\n"), justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(
            *(f"{value:,.4g}" if isinstance(value, float) else str(value) for value in row.values())
        )
    Console(width=max(out.width, 120), highlight=False).print(table)


@app.command()
def doctor(
    vectors: Annotated[Path | None, typer.Option(help="Folder of conformance files to check.")] = None,
    device: Annotated[str, typer.Option(help="Where networks compute: cpu, cuda, cuda:1 ...")] = "cpu",
) -> None:
    """What this machine can do; with --vectors, whether it computes the published functions."""
    from prosebench.doctor import Checker, check_vectors, examine

    bad = 0
    if vectors is None:
        table = Table("what", "state", "found", box=None, pad_edge=False)
        for finding in examine():
            bad += finding.state == "missing"
            table.add_row(finding.what, finding.state, escape(finding.found))
        out.print(table)
        raise typer.Exit(1 if bad else 0)
    from analysis.conformance import check_metrics
    from prosebench.prose.conformance import check_atom_orders
    from prosebench.prose.network_conformance import check_prose, check_tarflow

    checkers: dict[str, Checker] = {
        "atom_orders": check_atom_orders,
        "metrics_": check_metrics,
        "prose_": partial(check_prose, device=device),
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


def _report(directory: Path, references: list[Path], workers: int) -> None:
    from analysis.report import write_report

    written = write_report(directory, references, workers=workers)
    out.print(written.table)
    out.print(f"tables and figures: {written.directory}")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str, option: str) -> list[int]:
    try:
        return [
            int(float(part)) if "e" in part.lower() else int(part.replace("_", "")) for part in _split(text)
        ]
    except ValueError:
        _fail(f"{option} {text!r} is not a list of whole numbers such as 10000,1e6")


def _fail(message: str) -> NoReturn:
    raise ValueError(message)


if __name__ == "__main__":
    main()
