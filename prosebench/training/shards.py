"""Training frames on disk, in the published layout: what `TrainingData` reads, and the writer of our own.

A folder holds `webdatasets/single_frames/0000.tar, ...`, whose members `{SEQUENCE}_{frame}.bin` are raw float32
(atoms, 3) in nm, and `pdb_tarfiles/train.tar`, whose members `{SEQUENCE}.pdb` fix the order of the atoms.
"""

import io
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from openmm import app, unit

from prosebench.ensemble import Ensemble
from prosebench.frames.bonds import bond_fault
from prosebench.peptide import Peptide
from prosebench.store.storage import write_bytes
from prosebench.suite import load_suite, suite_names

SHARDS = "webdatasets/single_frames"
TOPOLOGIES = "pdb_tarfiles/train.tar"

FRAMES_CHECKED = 16
"""The number of frames of each peptide in a shard whose bonds are tested."""

Member = tuple[str, bytes]
Frames = NDArray[np.float32]
_NAME = re.compile(r"(?:.*/)?([A-Z]+)_(\d+)\.bin")


class ExcludedPeptide(ValueError):
    """A peptide of a test or validation set among the training data; the message names it and its suite."""


@cache
def excluded_peptides() -> Mapping[str, str]:
    """Every peptide of every suite that comes with prosebench, and a suite it stands in: never train on these."""
    return {sequence: name for name in suite_names() for sequence in load_suite(name).peptides}


def refuse_excluded(sequence: str, origin: str) -> None:
    """Raise ExcludedPeptide for a peptide that results are reported on."""
    suite = excluded_peptides().get(sequence)
    if suite:
        raise ExcludedPeptide(
            f"{origin} holds {sequence}, a peptide of the suite {suite}: what is trained on it cannot be tested on "
            "it; remove its frames from the training data"
        )


def ensemble_members(sequence: str, ensemble: Ensemble, first: int = 0) -> Iterator[Member]:
    """Members of the frames of an ensemble, numbered from `first`; those that are not finite are left out."""
    refuse_excluded(sequence, "the ensemble")
    finite = np.isfinite(ensemble.positions_nm).all(axis=(1, 2)) & np.isfinite(ensemble.energies_kt)
    for number in np.flatnonzero(finite):
        yield f"{sequence}_{first + number}.bin", ensemble.positions_nm[number].astype("<f4").tobytes()


def write_shards(
    folder: Path,
    ensembles: Mapping[str, Ensemble],
    peptides: Sequence[Peptide],
    *,
    frames_per_shard: int = 50_000,
    seed: int = 0,
) -> list[Path]:
    """Write a folder of training data: all frames in one random order, cut into shards, and the topologies.

    ensembles maps sequences to frames in the atom order of their peptide. Equal input gives equal bytes. Returns the
    paths of the shards. Raises ExcludedPeptide, ValueError where an ensemble has no peptide or other atoms.
    """
    known = {peptide.sequence: peptide for peptide in peptides}
    members: list[Member] = []
    for sequence in sorted(ensembles):
        atoms = ensembles[sequence].positions_nm.shape[1]
        if sequence not in known or known[sequence].n_atoms != atoms:
            raise ValueError(
                f"frames of {sequence} with {atoms} atoms come without a peptide of as many atoms"
            )
        members += ensemble_members(sequence, ensembles[sequence])
    order = np.random.default_rng(seed).permutation(len(members))
    paths = []
    for shard, first in enumerate(range(0, len(members), frames_per_shard)):
        path = folder / SHARDS / f"{shard:04d}.tar"
        write_bytes(path, tar_bytes(members[i] for i in order[first : first + frames_per_shard]))
        paths.append(path)
    texts = {sequence: pdb_text(known[sequence]) for sequence in sorted(ensembles)}
    write_bytes(folder / TOPOLOGIES, tar_bytes((f"{s}.pdb", text.encode()) for s, text in texts.items()))
    return paths


def tar_bytes(members: Iterable[Member]) -> bytes:
    """An uncompressed tar archive whose bytes depend on its members alone."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def pdb_text(peptide: Peptide) -> str:
    """A PDB file with the peptide's atoms in its order, at the start structure, without a date."""
    text = io.StringIO()
    app.PDBFile.writeModel(peptide.openmm_topology, peptide.start_nm * unit.nanometer, text)
    app.PDBFile.writeFooter(peptide.openmm_topology, text)
    return text.getvalue()


def read_shard(
    path: Path, peptide_of: Callable[[str], Peptide | None], faults: dict[str, str]
) -> dict[str, Frames]:
    """Frames (n, atoms, 3) in nm of each peptide in a shard, in the order of its members.

    peptide_of gives a peptide by its sequence, or None where its frames are not wanted. A member with a wrong name,
    size or numbers that are not finite, all frames of a peptide whose first ones have bonds that are none (in ångström,
    or with atoms in another order), and what follows a cut, are left out and named in faults with the reason.
    """
    found: dict[str, list[bytes]] = {}
    last = "its beginning"
    try:
        with tarfile.open(path, mode="r:") as archive:
            for info in archive:
                content = archive.extractfile(info) if info.isfile() else None
                if content is not None:
                    _take(f"{path.name}/{info.name}", info.name, content.read(), peptide_of, found, faults)
                last = info.name
    except (tarfile.TarError, OSError) as error:
        faults[path.name] = f"the shard is cut or damaged after {last} ({error})"
    frames = {
        s: np.frombuffer(b"".join(parts), "<f4").reshape(len(parts), -1, 3) for s, parts in found.items()
    }
    whole = {sequence: _finite(path.name, sequence, array, faults) for sequence, array in frames.items()}
    return {s: array for s, array in whole.items() if _of_peptide(path.name, s, array, peptide_of(s), faults)}


def _take(
    where: str,
    name: str,
    content: bytes,
    peptide_of: Callable[[str], Peptide | None],
    found: dict[str, list[bytes]],
    faults: dict[str, str],
) -> None:
    matched = _NAME.fullmatch(name)
    if not matched:
        faults[where] = "it is not named {SEQUENCE}_{frame}.bin"
        return
    sequence = matched[1]
    refuse_excluded(sequence, where)
    peptide = peptide_of(sequence)
    if peptide is None:
        return
    if len(content) != 12 * peptide.n_atoms:
        faults[where] = f"it has {len(content)} bytes; {sequence} needs {12 * peptide.n_atoms}"
        return
    found.setdefault(sequence, []).append(content)


def _finite(shard: str, sequence: str, frames: Frames, faults: dict[str, str]) -> Frames:
    finite = np.isfinite(frames).all(axis=(1, 2))
    if not finite.all():
        faults[f"{shard}/{sequence}"] = f"{(~finite).sum()} frames are not finite"
    return frames[finite]


def _of_peptide(
    shard: str, sequence: str, frames: Frames, peptide: Peptide | None, faults: dict[str, str]
) -> bool:
    """Whether the first frames have the bonds of their peptide; name the first that is none."""
    fault = None if peptide is None else bond_fault(frames[:FRAMES_CHECKED], peptide.topology)
    if fault:
        faults[f"{shard}/{sequence}"] = (
            f"all {len(frames)} frames are left out: {fault}; shards hold nm, in the order of {TOPOLOGIES}"
        )
    return fault is None
