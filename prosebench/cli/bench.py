"""Commands that measure speed, and how far intervals can be trusted."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from prosebench.cli.options import app, numbers, out, print_rows, split

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

    print_rows(bench_energy(tuple(split(peptides)), tuple(numbers(threads, "--threads")), rounds=rounds))


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

    print_rows(
        bench_inverse(
            split(sizes),
            split(peptides),
            numbers(batches, "--batches"),
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
    models = [{"size": size} for size in split(sizes)]
    print_rows(
        bench_training(
            load_recipe("prose-8aa", settings),
            models,
            split(peptides),
            numbers(batches, "--batches"),
            seconds=seconds,
        )
    )
