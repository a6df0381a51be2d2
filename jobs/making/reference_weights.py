"""Log-weights that flows give to the frames of references: they tell whether the weights of proposals miss a state.

Records alone cannot say: they hold densities of proposals, and a state that no proposal has reached is in none of them.
The density of a reference frame takes the flow itself, so it is computed here, and stands in the run folder for scores.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from prosebench.flows.device import choose_device
from prosebench.flows.snis import FlowSNIS
from prosebench.flows.weights.files import WeightsOutOfReach
from prosebench.method import BrokenMethod, UnknownMethod, load_method
from prosebench.record import Cell, cell_folders, read_cell, reference_weights_path
from prosebench.reference import InvalidReferenceError, Reference, known_reference
from prosebench.store.fields import explained, one_line
from prosebench.store.places import PUBLISHED_WEIGHTS, published_weights, stored_weights
from prosebench.store.storage import DamagedFile, arrays_bytes, json_bytes, write_once

MOST_FRAMES = 4_000
"""The largest number of frames of a reference whose densities are computed. It is enough to see a share of a
tenth of a percent."""

MOST_PARAMETERS = 20_000_000
"""The largest number of parameters of a flow whose densities are computed on a CPU. With a larger one, a
report would take hours."""


class _Lacking(NamedTuple):
    """A file that is to be written for a cell, and its reference."""

    cell: Cell
    reference: Path
    path: Path


def write_reference_weights(
    directory: Path, reference_folders: Sequence[Path], folders: Sequence[Path] | None = None
) -> list[str]:
    """Write what lacks (`reference_weights_path`) for the finished cells of a run folder, or for those in some folders
    of its cells. Returns why files could not be made: a line for each row, or each of its cells.

    Left out without a word are methods without a density of given frames, cells without a reference of their
    temperature, published weights that are not on this machine, and flows of more than MOST_PARAMETERS where there is
    no accelerator.
    """
    groups: dict[bytes, list[_Lacking]] = {}
    for one in _lacking(
        directory, reference_folders, cell_folders(directory) if folders is None else folders
    ):
        # Cells of one flow together: it is loaded once.
        groups.setdefault(json_bytes([one.cell.method, one.cell.settings]), []).append(one)
    return [reason for group in groups.values() for reason in _write_group(group)]


def _lacking(
    directory: Path, reference_folders: Sequence[Path], folders: Sequence[Path]
) -> Iterator[_Lacking]:
    """Files that are not there, each once: cells of several seeds share one."""
    seen = set()
    for folder in folders:
        if not (folder / "ensemble.npz").exists():
            continue
        try:
            cell = read_cell(folder)
            if not issubclass(load_method(cell.method), FlowSNIS):
                continue
            kelvin = cell.target.temperature_kelvin
            found = known_reference(cell.peptide, reference_folders, kelvin)
            reference = _reference(found, found.stat().st_mtime_ns) if found else None
        except (DamagedFile, InvalidReferenceError, UnknownMethod, BrokenMethod, OSError):
            # What is wrong with a cell or a reference is said where it is scored.
            continue
        if found is None or reference is None or reference.temperature_kelvin != kelvin:
            continue
        path = reference_weights_path(directory, cell, reference.hash)
        if path not in seen and not path.exists():
            seen.add(path)
            yield _Lacking(cell, found, path)


@lru_cache(maxsize=1)
def _reference(path: Path, modified_ns: int) -> Reference:
    """The reference at a path as of a time of change. The last one is kept, as cells come sorted by peptide."""
    return Reference.load(path)


def _write_group(group: Sequence[_Lacking]) -> Iterator[str]:
    """Write the files of cells with one method and the same settings; yields why some could not be made."""
    cell = group[0].cell
    try:
        kind = load_method(cell.method)
        method = kind(kind.Settings(**cell.settings))
        assert isinstance(method, FlowSNIS)
        if not _is_quick(method):
            return
        method.settings.load()
    except WeightsOutOfReach:
        return
    except Exception as error:
        # Weights of strangers, plug-ins or devices may raise anything; scores that need no flow are made all
        # the same.
        yield f"{cell.row}: {_said(error)}"
        return
    for one in group:
        try:
            _write(method, one)
        except Exception as error:
            yield f"{one.cell.row}, {one.cell.peptide}: {_said(error)}"


def _said(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return explained(error)
    text = one_line(str(error))
    return text if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {text}"


def _is_quick(method: FlowSNIS) -> bool:
    """Whether the flow is on this machine, and not too large for the CPU where that computes; nothing is loaded."""
    settings = method.settings
    file = settings.kind.weights_file(settings.weights)
    for name, revision in published_weights(settings.model_dump()):
        file = stored_weights(PUBLISHED_WEIGHTS[name], revision)
        if file is None:
            return False
    # Files hold single precision.
    large = file is not None and file.stat().st_size > 4 * MOST_PARAMETERS
    return not (large and choose_device().startswith("cpu"))


def _write(method: FlowSNIS, one: _Lacking) -> None:
    reference = _reference(one.reference, one.reference.stat().st_mtime_ns)
    frames = reference.scored.select(slice(0, min(one.cell.frames, MOST_FRAMES)))
    weights = method.frame_log_weights(reference.peptide, frames, reference.temperature_kelvin)
    if weights is not None:
        # Where several jobs make one file, the first counts: scores are kept by its hash.
        write_once(one.path, arrays_bytes({"log_weights": weights}))
