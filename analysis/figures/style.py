"""The common look of all figures: colours, markers, sizes, and files whose bytes depend on their content
alone."""

import io
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.scores.rows import DECLARED, plain_name, without_temperature
from prosebench.names import CEILING, FLOOR
from prosebench.store.storage import write_bytes

COLUMN_INCHES = 3.4
PAGE_INCHES = 7.0
LEGEND_LINE_INCHES = 0.155
INK = "#222222"
REFERENCE_FILL = "#bdbdbd"
REFERENCE_LINE = "#6e6e6e"
FREE_ENERGY_COLOURS = "viridis"
_DPI = 300
_BLUE, _VERMILION, _GREEN, _PURPLE, _ORANGE, _SKY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
)
"""The colours of Okabe and Ito, "Color Universal Design" (2008), without black (used for text) and yellow
(too pale for lines).
"""

_MAGENTA = "#8E0152"
"""The colour of autoregressive flows. It is dark, so that it stands apart from the six others in grey, too."""

_DECLARED_COLOUR = "#7B4A12"
"""The colour of rows whose costs nobody has metered: a brown in which no method is drawn."""


@dataclass(frozen=True)
class Look:
    """How a row is drawn: colour, marker and line style, so that it can be told in grey too."""

    colour: str
    marker: str
    line: str = "-"


# One colour for a family, marker and line for its members.
_FIXED: Mapping[str, Look] = {
    "prose-snis": Look(_BLUE, "o"),
    "prose-self-improve": Look(_BLUE, "P", "--"),
    "tarflow-snis": Look(_SKY, "X", ":"),
    "bg": Look(_SKY, "<", "-."),
    "tbg": Look(_PURPLE, "v", "--"),
    "smc-mala": Look(_GREEN, "^"),
    "smc-ula": Look(_GREEN, ">", "-."),
    "arbg-snis": Look(_MAGENTA, "d", "--"),
    "robin-snis": Look(_MAGENTA, "*", ":"),
    "md-flow": Look(_MAGENTA, "P", "-."),
    "md": Look(_VERMILION, "s"),
    "md-tuned": Look(_VERMILION, "p", "--"),
    "md-replicas": Look(_ORANGE, "D", "--"),
    "parallel-tempering": Look(_ORANGE, "h", ":"),
    FLOOR: Look(REFERENCE_LINE, "_", (0, (1, 1.2))),  # type: ignore[arg-type]
    CEILING: Look(REFERENCE_LINE, "|", (0, (1, 1.2))),  # type: ignore[arg-type]
}
_SPARE = tuple(
    Look(colour, marker, line)
    for marker, line in (("<", "-"), (">", "--"), ("h", "-."), ("p", ":"), ("d", "-"))
    for colour in (_GREEN, _PURPLE, _ORANGE, _SKY, _BLUE, _VERMILION)
)
_SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "figure.constrained_layout.use": True,
    "savefig.dpi": _DPI,
    "image.interpolation": "nearest",
    "pdf.fonttype": 42,
    "svg.hashsalt": "prosebench",
    "svg.fonttype": "path",
    "mathtext.default": "regular",
}


@contextmanager
def styled() -> Iterator[None]:
    """Figures made inside have the house style, whatever settings the caller has."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(cast(Any, _SETTINGS))
        yield


def looks(rows: Iterable[str]) -> dict[str, Look]:
    """Look of each row, at whatever temperature. Known methods have theirs fixed; another name keeps its own unless
    two names want one look.
    """
    given = list(dict.fromkeys(rows))
    found = _looks(sorted({without_temperature(name) for name in given}))
    return {name: found[without_temperature(name)] for name in given}


def _looks(names: Sequence[str]) -> dict[str, Look]:
    found = {name: _FIXED[name] for name in names if name in _FIXED}
    for name in names:
        if name in found:
            continue
        first = zlib.crc32(name.encode()) % len(_SPARE)
        places = [*_SPARE[first:], *_SPARE[:first]]
        if name.endswith(DECLARED):
            places = [replace(look, colour=_DECLARED_COLOUR) for look in places]
        family = None if name.endswith(DECLARED) else _FIXED.get(plain_name(name))
        if family:  # a method with other weights or settings keeps the colour of the method
            places = [family, *(replace(look, colour=family.colour) for look in places)]
        found[name] = next((look for look in places if look not in found.values()), places[0])
    return found


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, to be made and saved inside `styled`."""
    return Figure(figsize=(width, height))


def panel_title(axes: Axes, text: str, colour: str = INK) -> None:
    """Title at the left above a panel."""
    axes.set_title(text, loc="left", color=colour, pad=3)


def above(figure: Figure, text: str) -> None:
    """A remark above all panels: inside one, it would hide what lies in its corner."""
    if text:
        figure.suptitle(text.replace("\n", " "), x=0.01, ha="left", fontsize=7)


def note(axes: Axes, text: str, place: str = "upper right") -> None:
    """Small text in a corner inside a panel."""
    vertical, horizontal = place.split()
    axes.text(
        0.97 if horizontal == "right" else 0.03,
        0.97 if vertical == "upper" else 0.03,
        text,
        transform=axes.transAxes,
        ha=horizontal,
        va="top" if vertical == "upper" else "bottom",
        fontsize=6.5,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.0},
        zorder=10,
    )


def shared_legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """One legend below all panels, each label once. The figure grows by lines beyond the second, the panels stay."""
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        columns = _columns(list(handles), figure.get_figwidth())
        lines = -(-len(handles) // columns)
        figure.set_figheight(figure.get_figheight() + LEGEND_LINE_INCHES * max(lines - 2, 0))
        figure.legend(
            list(handles.values()), list(handles), loc="outside lower center", ncols=columns, handlelength=2.4
        )


def _columns(labels: Sequence[str], width_inches: float) -> int:
    """Columns of a legend that fit in a width, each as wide as its longest label."""
    size = float(_SETTINGS["legend.fontsize"]) / 72.0
    widths = np.array([0.6 * len(label) + 2.4 + 0.8 for label in labels]) * size  # letters, handle, gap
    for columns in range(min(len(labels), 6), 1, -1):
        parts = np.array_split(widths, columns)  # as matplotlib fills them
        if sum(part.max() for part in parts) + 2.0 * size * (columns + 1) <= width_inches:
            return columns
    return 1


FORMATS = ("png", "pdf", "svg")
"""The kinds of files as which figures are written."""


def save(figure: Figure, path_stem: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write a figure in each of the formats beside each other, without dates or versions. Returns the paths."""
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "svg": {"Date": None, "Creator": None},
    }
    paths = []
    with styled():
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the layout is found once, not once a format
        for kind in formats:
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata=metadata[kind])
            path = path_stem.with_name(f"{path_stem.name}.{kind}")
            write_bytes(path, buffer.getvalue())
            paths.append(path)
    return paths
