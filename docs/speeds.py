"""Records of `prosebench bench all` in words and tables, for the page on performance."""

import json
from pathlib import Path
from typing import Any

COLUMNS: dict[str, dict[str, str]] = {
    "energy": {
        "peptide": "peptide",
        "atoms": "atoms",
        "quantity": "quantity",
        "engine": "engine",
        "threads": "threads",
        "µs": "microseconds",
        "µs of CPU": "cpu_microseconds",
        "times as fast": "ratio",
    },
    "inverse": {
        "size": "size",
        "peptide": "peptide",
        "batch": "batch",
        "threads": "threads",
        "samples/s": "samples_per_second",
        "matrix product (GFLOP/s of CPU)": "matrix_gflops",
        "time over bound": "over_bound",
        "straightforward way": "reference_over_bound",
        "times as fast": "speedup",
    },
    "training": {
        "model": "model",
        "parameters": "parameters",
        "peptide": "peptide",
        "batch": "batch",
        "precision": "precision",
        "threads": "threads",
        "frames/s": "frames_per_second",
        "GFLOP a frame": "gflop_per_frame",
        "matrix product (GFLOP/s of CPU)": "matrix_gflops",
        "share of it": "share",
    },
    "wasserstein": {
        "coordinates": "coordinates",
        "frames": "frames",
        "engine": "engine",
        "s of CPU": "seconds",
        "times as fast": "ratio",
        "certified gap": "gap",
        "memory (GB)": "peak_gb",
    },
    "scoring": {
        "peptide": "peptide",
        "frames": "frames",
        "s of CPU": "seconds",
        "reading (s)": "load_seconds",
        "memory (GB)": "peak_gb",
    },
    "planning": {
        "step": "step",
        "cells": "cells",
        "s": "seconds",
        "s of CPU": "cpu_seconds",
        "cells/s": "cells_per_second",
    },
    "overhead": {
        "row": "row",
        "peptide": "peptide",
        "budget": "budget",
        "chunks": "chunks",
        "start-up (s)": "start_up_seconds",
        "cell (s)": "seconds",
        "beside the method": "overhead",
        "beside the target": "beside_target",
        "a flushed file (ms)": "write_milliseconds",
    },
}
COLUMNS |= {
    name: {
        "what": "series",
        name: name,
        "evaluations/s": "evaluations_per_second",
        "speed-up": "speed_up",
        "efficiency": "efficiency",
    }
    for name in ("ranks", "workers")
}
"""Heading and name of each column of a section's table."""

BUSY = 0.5
"""Load average before a measurement beyond which other programs had a part in it."""

SHARES = ("share", "overhead", "beside_target", "efficiency")


def read(path: Path) -> dict[str, Any]:
    """A record of `prosebench bench all`."""
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def cells(record: dict[str, Any], section: str) -> tuple[list[str], list[list[str]]]:
    """Headings and lines of a section's table; no lines where it failed."""
    columns = COLUMNS[section]
    rows = [[shown(row[key], key) for key in columns.values()] for row in _section(record, section)["rows"]]
    return list(columns), rows


def how(record: dict[str, Any], section: str) -> str:
    """The command of a section, how long it took, and why it failed, where it did."""
    found = _section(record, section)
    said = f" **Not measured**: {found['failure']}." if found["failure"] else ""
    return f"`{found['command']}`: {found['seconds']:,.0f} s.{said}"


def machine(record: dict[str, Any]) -> str:
    """On what, with what, and when a record was measured, and what else the machine was busy with."""
    on, versions = record["machine"], record["versions"]
    before, after = (record[f"load_{when}"] for when in ("before", "after"))
    lines = {
        "processor": f"{on['processor']}, {on['usable_cores']} of {on['cores']} cores usable, "
        f"{on['memory_gb']:g} GB of memory",
        "instruction sets": on["instructions"],
        "system": on["system"],
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "measured": f"from {record['started']} to {record['finished']}",
        "load average over 1, 5, 15 minutes": f"before: {', '.join(map(str, before))}; after: "
        f"{', '.join(map(str, after))}, the measurement itself included",
    }
    if before[0] > BUSY:
        lines["**the machine was busy with other programs**"] = (
            "wall times, evaluations a second, efficiencies and what several threads gain are worse than its own; "
            "CPU times and their ratios are changed little"
        )
    return "\n".join(f"- {name}: {value}" for name, value in lines.items())


def shown(value: str | int | float, key: str) -> str:
    """A value with three digits; shares in percent."""
    if key in SHARES:
        return f"{float(value):.1%}"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.3g}"


def _section(record: dict[str, Any], name: str) -> dict[str, Any]:
    return next(section for section in record["sections"] if section["name"] == name)
