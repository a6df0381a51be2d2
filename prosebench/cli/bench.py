"""Commands that measure speed, and how far intervals can be trusted."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from prosebench.cli.options import (
    OWN_REFERENCES,
    Assignments,
    Budgets,
    ClusterFile,
    Executor,
    Names,
    References,
    SuiteName,
    app,
    err,
    load_profile,
    numbers,
    out,
    print_rows,
    split,
)
from prosebench.machine.terminal import plain_table

Rows = list[dict[str, str | int | float]]


def _printed_already(rows: object) -> None:
    """What a bench measured goes to who called it (`bench all`); to a shell a command returns nothing."""


bench = typer.Typer(
    no_args_is_help=True,
    help="Measure speed on this machine; ratios within one run are what to quote.",
    result_callback=_printed_already,
)
app.add_typer(bench, name="bench")

ScalingFolder = Annotated[
    Path,
    typer.Option("--dir", help="Run folder: measurements go to its bench/, figures to its figures/."),
]
Scratch = Annotated[
    Path, typer.Option("--dir", help="Folder, on the disk to be measured, for what is removed again.")
]
Rounds = Annotated[int, typer.Option(min=1, help="Interleaved rounds; medians are over them.")]


@bench.command("energy")
def bench_energy_(
    peptides: Annotated[str, typer.Option(help="Comma-separated sequences.")] = "AA,ARIP,ISKCKNGE",
    threads: Annotated[str, typer.Option(help="Comma-separated numbers of threads.")] = "1,2",
    rounds: Rounds = 7,
) -> Rows:
    """OpenMM and the batched energy side by side: energy, energy with gradient, and MD step."""
    from prosebench.energy.bench import bench_energy

    return _shown(bench_energy(tuple(split(peptides)), tuple(numbers(threads, "--threads")), rounds=rounds))


@bench.command("batch")
def bench_batch_(
    directory: ScalingFolder = Path("runs/scaling"),
    peptides: Annotated[str, typer.Option(help="Comma-separated sequences.")] = "AA,ARIP",
    batches: Annotated[str, typer.Option(help="Comma-separated numbers of frames.")] = "1,4,16,64,256,1024",
    rounds: Rounds = 3,
) -> Rows:
    """Energies with gradients a second of the batched engines against the number of frames in a batch."""
    from prosebench.energy.bench import bench_batches

    rows = bench_batches(tuple(split(peptides)), tuple(numbers(batches, "--batches")), rounds=rounds)
    _keep(rows, "batch", directory)
    return _shown(rows)


@bench.command("wasserstein")
def bench_wasserstein_(
    dimensions: Annotated[
        str, typer.Option(help="Comma-separated numbers of coordinates; 2: a plane, others: a torus.")
    ] = "2,6,14",
    frames: Annotated[int, typer.Option(help="Points on each side.")] = 10_000,
    rounds: Rounds = 3,
) -> Rows:
    """Exact W2 and POT's dense solver side by side: CPU time, ratio, certified gap, peak memory."""
    from analysis.metrics.bench import bench_wasserstein

    return _shown(bench_wasserstein(tuple(numbers(dimensions, "--dimensions")), frames=frames, rounds=rounds))


@bench.command("scoring")
def bench_scoring_(
    peptides: Annotated[str, typer.Option(help="Comma-separated sequences.")] = "ISKCKNGE",
    frames: Annotated[int, typer.Option(help="Frames of the record, and of the reference.")] = 10_000,
) -> Rows:
    """CPU time and peak memory of scoring one record."""
    from analysis.metrics.bench import bench_scoring

    return _shown(bench_scoring(tuple(split(peptides)), frames=frames))


@bench.command("calibration")
def bench_calibration(
    target: Annotated[Path, typer.Option("--out", help="Folder for the table and the figure.")] = Path(
        "runs/calibration"
    ),
    trials: Annotated[int, typer.Option(help="Trials of each rate.")] = 1000,
) -> None:
    """How often the intervals of the tables hold the truth, and how often a perfect sampler is declared worse."""
    from analysis.figures.calibration import write_calibration

    table = plain_table("what", "peptides", "seeds", "rate", "nominal")
    for one in write_calibration(target, trials):
        numbers = (
            str(one.peptides),
            str(one.seeds),
            f"{one.rate:.1%} ± {one.error:.1%}",
            f"{one.nominal:.0%}",
        )
        table.add_row(one.what, *numbers)
    out.print(table)
    out.print(f"table and figure: {target}", soft_wrap=True)


@bench.command("inverse")
def bench_inverse_(
    sizes: Annotated[
        str, typer.Option(help="Comma-separated sizes of flows; weights are random.")
    ] = "prose-8aa",
    peptides: Annotated[str, typer.Option(help="Comma-separated sequences.")] = "AA,ARIP,ISKCKNGE",
    batches: Annotated[str, typer.Option(help="Comma-separated batch sizes.")] = "64,256",
    rounds: Rounds = 3,
    blocks: Annotated[int, typer.Option(min=0, help="Measure this many blocks and scale up; 0: all.")] = 0,
    layers: Annotated[
        int, typer.Option(min=0, help="Measure this many layers a block and scale up; 0: all.")
    ] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda ...")] = "cpu",
    precision: Annotated[
        Literal["float32", "tf32", "bfloat16"], typer.Option(help="Of products inside the layers, on a GPU.")
    ] = "float32",
) -> Rows:
    """Sampling speed of the flow, beside the matrix rate of this machine and the straightforward way."""
    from prosebench.prose.bench.inverse import bench_inverse

    return _shown(
        bench_inverse(
            split(sizes),
            split(peptides),
            numbers(batches, "--batches"),
            rounds=rounds,
            blocks=blocks or None,
            layers=layers or None,
            device=device,
            precision=precision,
        )
    )


@bench.command("sampling")
def bench_sampling_(
    peptides: Annotated[str, typer.Option(help="Comma-separated sequences.")] = "AA",
    prose: Annotated[str, typer.Option(help="Weights of a Prose or TarFlow.")] = "prose-mini",
    tbg: Annotated[str, typer.Option(help="Weights of a continuous flow.")] = "tbg-mini",
    samples: Annotated[str, typer.Option(help="Batch of Prose, and of TBG.")] = "256,16",
    rounds: Rounds = 3,
    device: Annotated[str, typer.Option(help="cpu, cuda ...")] = "cpu",
) -> Rows:
    """Seconds of a proposal with its exact density: the continuous flow of TBG beside Prose."""
    from prosebench.ecnf.bench import bench_sampling

    batches = numbers(samples, "--samples")
    if len(batches) != 2:
        raise typer.BadParameter(f"{samples!r} is not of the form 256,16", param_hint="--samples")
    return _shown(
        bench_sampling(
            split(peptides),
            prose=prose,
            tbg=tbg,
            samples=(batches[0], batches[1]),
            rounds=rounds,
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
    seconds: Annotated[float, typer.Option(min=0.0, help="So long each is measured.")] = 10.0,
    recipe: Annotated[str, typer.Option(help="Recipe that says what is trained, as tbg-mini.")] = "prose-8aa",
) -> Rows:
    """Training speed of flows, and its share of the matrix rate of this machine."""
    from prosebench.training.bench import bench_training
    from prosebench.training.recipe import load_recipe

    settings = [f"precision={precision}", f"compile={compile_}"]
    models = [{"size": size} for size in split(sizes)]
    return _shown(
        bench_training(
            load_recipe(recipe, settings),
            models,
            split(peptides),
            numbers(batches, "--batches"),
            seconds=seconds,
        )
    )


@bench.command("scaling")
def bench_scaling(
    suite: SuiteName = "quickstart",
    directory: ScalingFolder = Path("runs/scaling"),
    methods: Names = "",
    peptides: Names = "",
    budgets: Budgets = "",
    set_: Assignments = None,
    ranks: Annotated[
        str,
        typer.Option(
            help="Comma-separated; of the suite's first cell, here or, on a cluster, in jobs. Empty: none."
        ),
    ] = "1,2",
    workers: Annotated[
        str,
        typer.Option(help="Comma-separated, of the whole suite; on a cluster: nodes. Empty: none."),
    ] = "1,2",
    rounds: Rounds = 3,
    references: References = None,
    executor: Executor = "local",
    cluster: ClusterFile = "",
) -> Rows:
    """One cell over ranks, and a suite over workers or nodes: strong and weak scaling, and efficiency."""
    from jobs.making.bench import bench_ranks, bench_suite, summary
    from jobs.making.inputs import find_inputs
    from prosebench.cli.compute import narrowed

    profile = load_profile(executor, cluster)
    known = references or [OWN_REFERENCES]
    inputs = find_inputs(narrowed(suite, methods, peptides, budgets, "", "", set_), known, named=suite)
    if inputs.weights:
        raise ValueError(inputs.lines[0])
    chosen = inputs.suite

    def watch(row: Mapping[str, str | int | float]) -> None:
        err.print(
            f"{row['series']}, {row[against]} {against}: {row['evaluations_per_second']:,.0f} evaluations/s"
        )

    lines: Rows = []
    for against, asked in (("ranks", ranks), ("nodes" if executor != "local" else "workers", workers)):
        if not split(asked):
            continue
        values = numbers(asked, f"--{'workers' if against == 'nodes' else against}")
        measure = bench_ranks if against == "ranks" else bench_suite
        rows = measure(
            chosen,
            values,
            directory,
            rounds=rounds,
            cluster=profile if executor != "local" else None,
            references=known,
            watch=watch,
        )
        _keep(rows, against, directory)
        lines += _shown(summary(rows, against))
    out.print(f"measurements: {directory / 'bench'}; figures: {directory / 'figures'}", soft_wrap=True)
    return lines


def _shown(rows: Rows) -> Rows:
    """The rows, once they are printed."""
    print_rows(rows)
    return rows


def _keep(rows: Sequence[Mapping[str, str | int | float]], against: str, directory: Path) -> None:
    """Keep measurements where reports look for them, and draw them."""
    from analysis.figures.costs import throughput
    from analysis.figures.style import save
    from prosebench.store.storage import write_json

    write_json(directory / "bench" / f"scaling-{against}.json", rows)
    figure = throughput(rows, against)
    if figure is not None:
        save(figure, directory / "figures" / f"throughput-{against}")


@bench.command("overhead")
def bench_overhead_(
    suite: SuiteName = "quickstart",
    directory: Scratch = Path("runs/overhead"),
    methods: Names = "md,md-replicas,arbg-snis",
    peptides: Names = "AA",
    budgets: Budgets = "200000",
    set_: Assignments = None,
    rounds: Rounds = 3,
) -> Rows:
    """What the harness costs beside a method: start-up, and the part of a cell in which the method is not at work."""
    from jobs.making.bench_overhead import bench_overhead
    from prosebench.cli.compute import narrowed

    chosen = narrowed(suite, methods, peptides, budgets, "0", "", set_)
    return _shown(bench_overhead(chosen, directory, rounds=rounds))


@bench.command("planning")
def bench_planning_(
    suite: SuiteName = "quickstart",
    directory: Scratch = Path("runs/planning"),
    cells: Annotated[
        int, typer.Option(min=1, help="So many, of as many seeds of the suite as that takes.")
    ] = 10_000,
) -> Rows:
    """Seconds of planning cells: their folders for the first time and again, a look for damage, and their states."""
    from jobs.making.bench_planning import bench_planning
    from prosebench.suite import load_suite

    return _shown(bench_planning(load_suite(suite), directory, number=cells))


@bench.command("flow")
def bench_flow_(
    peptides: Annotated[str, typer.Option(help="Comma-separated sequences, of which there are references.")],
    weights: Annotated[str, typer.Option(help="Name of a model, or a weights file.")] = "arbg-small",
    references: References = None,
    frames: Annotated[int, typer.Option(min=2, help="Reference frames that are looked at.")] = 1000,
    proposals: Annotated[int, typer.Option("-n", min=10, help="Proposals of each peptide.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the proposals.")] = 0,
) -> None:
    """How good a flow is on peptides with references: spread of log q + U, ESS, k-hat, what it does not see, cost."""
    from dataclasses import asdict

    from prosebench.check.flow_quality import flow_quality
    from prosebench.pretrained import load_flow
    from prosebench.reference import Reference, find_reference

    flow = load_flow(weights)
    folders = [*(references or []), OWN_REFERENCES]
    rows = []
    for sequence in split(peptides):
        reference = Reference.load(find_reference(sequence, folders))
        rows.append(asdict(flow_quality(flow, reference, frames=frames, proposals=proposals, seed=seed)))
    print_rows(rows)
