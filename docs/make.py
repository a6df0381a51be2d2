"""Makes what of the documentation is made: `python docs/make.py`, which `make docs` runs first.

A page holds what is made between two comments, `<!-- made: NAME WHAT -->` and `<!-- end -->`: tables of metrics from
their registry, fields of a file from its pydantic model, the output of an example. Pictures of the gallery are made by
its scripts. Pages are committed with all of it, so that they can be read without building the site; a test compares.
"""

import functools
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel

from analysis.metrics.metric import Cost, Distance, Metric, Quality
from analysis.metrics.registry import BY_NAME, DISTANCES, TABLE_COSTS, TABLE_METRICS

DOCS = Path(__file__).parent
SCRIPTS = DOCS / "gallery" / "scripts"
PICTURES = DOCS / "images" / "gallery"
BLOCK = re.compile(r"<!-- made: (\S+) ?(\S*) -->\n.*?<!-- end -->", re.DOTALL)
FLOOR_FRAMES = 2000
NARROW_METRICS = ("ess", "weight-missed", "energy-w2", "torus-w2", "tica-w2", "torus-k-jsd")
"""The metrics of a main table that has to fit a page."""
WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "none",
}
"""Types of JSON schema, as pages call them."""


def run_example(script: Path, folder: Path) -> str:
    """What a script of the gallery prints; its files lie in the folder. Raises CalledProcessError where it fails."""
    places = [str(DOCS.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places))}
    done = subprocess.run(
        [sys.executable, script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.stderr.write(done.stderr)
        done.check_returncode()
    return done.stdout


def metric_facts(name: str) -> str:
    """What the registry says of a metric, in a line."""
    metric = BY_NAME[name]
    facts = [f"`{metric.name}`", metric.what]
    facts.append(f"unit: {metric.unit}" if metric.unit else "no unit")
    if metric.better:
        facts.append(f"{metric.better} is better")
    low, high = metric.bounds
    if math.isfinite(low):
        facts.append(f"at least {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}")
    if metric.scale == "log":
        facts.append("averaged geometrically, compared by ratios")
    elif metric.better:
        facts.append("averaged arithmetically, compared by differences")
    return "; ".join(facts) + "."


def metric_kinds(_: str) -> str:
    """A table of all metrics."""
    kinds: dict[type[Metric], str] = {Distance: "distance", Quality: "quality", Cost: "cost"}
    rows = [
        [
            f"[{metric.heading}](#{metric.name})" if not isinstance(metric, Cost) else metric.heading,
            f"`{metric.name}`",
            kinds[type(metric)],
            metric.unit or "–",
            metric.better or "–",
            ("where measured" if metric.optional else "yes")
            if metric in (*TABLE_METRICS, *TABLE_COSTS)
            else "no",
        ]
        for metric in BY_NAME.values()
    ]
    return table(["heading", "name in `scores.csv`", "kind", "unit", "better", "column of the tables"], rows)


def costs(_: str) -> str:
    """A table of what a record had spent."""
    found = [metric for metric in BY_NAME.values() if isinstance(metric, Cost)]
    return table(
        ["heading", "name", "what"],
        [[one.label, f"`{one.name}`", one.what] for one in found],
    )


def floors(_: str) -> str:
    """Floor and ceiling of every distance on the bundled references."""
    from analysis.scores.convergence import floor
    from analysis.scores.yardsticks import stuck
    from prosebench.reference import Reference, bundled_folder

    rows = []
    for path in sorted(bundled_folder().glob("*.npz")):
        reference = Reference.load(path)
        lowest, highest = floor(reference, FLOOR_FRAMES), stuck(reference, 0, FLOOR_FRAMES)
        rows.append(
            [
                path.stem,
                *(f"{lowest[one.name]:.2g} to {highest[one.name]:.2g}" for one in DISTANCES),
            ]
        )
    return table(["peptide", *(one.label for one in DISTANCES)], rows)


def references(folder: str) -> str:
    """What the references of a folder state of their convergence."""
    from analysis.scores.convergence import ERRORS, WAYS
    from prosebench.reference import Reference

    heads = [
        "peptide",
        "frames",
        "independent, of",
        "slowest",
        "groups, mean",
        *WAYS.values(),
        "floor",
        "adds ±",
    ]
    rows = []
    for path in sorted((DOCS.parent / folder).glob("*.npz")):
        reference = Reference.load(path)
        known = reference.convergence
        torsions = [
            known["spread"]["torus-w2"]["mean"],
            *(known.get(way, {}).get("torus-w2") for way in WAYS),
        ]
        rows.append(
            [
                path.stem,
                f"{len(reference):,}",
                f"{known['effective_frames']:,.0f} of {known['frames']:,}",
                known["slowest"],
                *(
                    "–" if value is None else f"{value:.2f}"
                    for value in (
                        *torsions,
                        reference.floor["torus-w2"],
                        known.get(ERRORS, {}).get("torus-w2"),
                    )
                ),
            ]
        )
    return table(heads, rows)


def main_table(what: str) -> str:
    """The rows of a kept run at some budgets, as RUN,BUDGET,...: the metrics that fit a page, without filtered rows."""
    from analysis.board.kept_runs import read_run
    from analysis.board.leaderboard import rounded
    from analysis.tables import main, text

    name, *budgets = what.split(",")
    scores = read_run(DOCS.parent / "results" / "runs" / name).scores
    chosen = scores[scores["budget"].isin([int(budget) for budget in budgets])]
    found = main.main_table(chosen, [BY_NAME[metric] for metric in NARROW_METRICS])
    rows = tuple(row for row in found.rows if not row.secondary and not row.gap)
    costs = tuple(cost for cost in found.costs if cost.name != "device-seconds")
    return text.markdown(rounded(replace(found, rows=rows, footer=(), costs=costs))).strip()


def floor_by_frames(_: str) -> str:
    """T-W2 between the two halves of each bundled reference, by the number of frames on each side."""
    from analysis.wasserstein import torus_w2
    from prosebench.frames.features import torus_points
    from prosebench.reference import Reference, bundled_folder

    numbers, rows = (250, 1000, 3500), []
    for path in sorted(bundled_folder().glob("*.npz")):
        reference = Reference.load(path)
        halves = [
            torus_points(half.positions_nm[: max(numbers)], reference.peptide.topology)
            for half in (reference.scored, reference.spare)
        ]
        rows.append([path.stem, *(f"{torus_w2(*(half[:n] for half in halves)):.2f}" for n in numbers)])
    return table(["peptide", *(f"T-W2 at {n:,} frames (rad)" for n in numbers)], rows)


def intervals(_: str) -> str:
    """How often the interval of a mean holds the truth where a method misses a state on some peptides."""
    from analysis.statistics.calibration import MEANS, MIXTURES, SIZES, mixture_coverage

    rows = [
        [
            f"{name}, {mean}",
            *(f"{mixture_coverage(name, mean, *size, trials=1000).rate:.0%}" for size in SIZES),
        ]
        for name in MIXTURES
        for mean in MEANS
    ]
    return table(["peptides × seeds", *(f"{peptides}×{seeds}" for peptides, seeds in SIZES)], rows)


def layers(_: str) -> str:
    """The drawing of the layers, kept with the documentation."""
    sys.path.insert(0, str(DOCS))
    rows = import_module("drawing").layers(DOCS.parent / "pyproject.toml")
    (DOCS / "images" / "layers.svg").write_text(import_module("drawing").svg(rows))
    return "![Layers of the code, from the commands down to geometry](images/layers.svg)"


def performance(what: str) -> str:
    """What `prosebench bench all` has measured. what is record:section, of a file in results/performance."""
    sys.path.insert(0, str(DOCS))
    speeds = import_module("speeds")
    name, _, section = what.partition(":")
    record = speeds.read(DOCS.parent / "results" / "performance" / f"{name}.json")
    if section == "machine":
        return str(speeds.machine(record))
    heads, rows = speeds.cells(record, section)
    return "\n\n".join(filter(None, (table(heads, rows) if rows else "", speeds.how(record, section))))


def schema(place: str) -> str:
    """A model's docstring, and a table of its fields. place is module:Class."""
    module, _, name = place.partition(":")
    model: type[BaseModel] = getattr(import_module(module), name)
    described = model.model_json_schema()
    known = described.get("$defs", {})
    needed = set(described.get("required", ()))
    rows = []
    for field, content in described["properties"].items():
        value = content.get("default")
        default = (
            "required"
            if field in needed
            else "its defaults"
            if isinstance(value, dict) and value
            else f"`{value!r}`"
        )
        rows.append([f"`{field}`", kind(content, known), default])
    text = re.sub(r"\s+", " ", (model.__doc__ or "").strip())
    return f"{text}\n\n{table(['field', 'type', 'default'], rows)}"


def kind(content: dict[str, Any], known: dict[str, Any]) -> str:
    """The type of a field in words, from its JSON schema."""
    if "$ref" in content:
        name = content["$ref"].rpartition("/")[2]
        return (
            f"[{name}](#{name.lower()})" if known[name].get("type") == "object" else kind(known[name], known)
        )
    if "const" in content:
        return f"`{content['const']!r}`"
    if "enum" in content:
        return " or ".join(f"`{value!r}`" for value in content["enum"])
    if "anyOf" in content:
        return " or ".join(kind(one, known) for one in content["anyOf"])
    if "allOf" in content:
        return kind(content["allOf"][0], known)
    if content.get("type") == "array":
        return f"list of {kind(content['items'], known)}" if "items" in content else "list"
    if content.get("type") == "object":
        values = content.get("additionalProperties")
        return f"table of {kind(values, known)} by name" if isinstance(values, dict) and values else "table"
    words = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "null": "none",
    }
    return words.get(content.get("type", ""), "any") + "".join(limits(content))


def limits(content: dict[str, Any]) -> Iterator[str]:
    """Bounds of a number or a text, in words."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    for key, sign in signs.items():
        if key in content:
            yield f" {sign} {content[key]:.3g}"
    if "maxLength" in content:
        yield f" of at most {content['maxLength']:,} characters"


def script(name: str) -> str:
    """The text of an example of the gallery."""
    return f"```python\n{(SCRIPTS / f'{name}.py').read_text()}```"


def output(name: str) -> str:
    """What an example of the gallery prints."""
    return f"```text\n{run_kept(name)}```"


@functools.cache
def run_kept(name: str) -> str:
    """Run an example, and keep its picture with the documentation."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        text = run_example(SCRIPTS / f"{name}.py", Path(folder))
        picture = Path(folder) / f"{name}.png"
        (PICTURES / picture.name).write_bytes(picture.read_bytes())
    return text


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


MAKERS: dict[str, Callable[[str], str]] = {
    "metric": metric_facts,
    "metrics": metric_kinds,
    "costs": costs,
    "floors": floors,
    "references": references,
    "main-table": main_table,
    "floor-by-frames": floor_by_frames,
    "intervals": intervals,
    "layers": layers,
    "performance": performance,
    "schema": schema,
    "script": script,
    "output": output,
}


def made(page: str, *, without: tuple[str, ...] = ()) -> str:
    """The text of a page with everything between its comments made anew, but for blocks of these names."""

    def again(block: re.Match[str]) -> str:
        name, what = block[1], block[2]
        if name in without:
            return block[0]
        return f"<!-- made: {' '.join(filter(None, (name, what)))} -->\n{MAKERS[name](what)}\n<!-- end -->"

    return BLOCK.sub(again, page)


def pages() -> list[Path]:
    """All pages, in order, and the README."""
    return [*sorted(DOCS.rglob("*.md")), DOCS.parent / "README.md"]


def main() -> None:
    """Make everything."""
    for page in pages():
        text = page.read_text()
        new = made(text)
        if new != text:
            page.write_text(new)
            print(f"made {page.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
