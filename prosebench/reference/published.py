"""Readers of the published reference data: a local copy of the Hugging Face dataset, or the hub itself.

Layout (dataset transferable-samplers/many-peptides-md): `pdb_tarfiles/{split}.tar` holds `{SEQ}.pdb`, and
`trajectories_subsampled/{split}/{L}AA/{SEQ}_subsampled.npz` holds positions (nm) and the TICA basis. In a
local copy the tar files may be unpacked, to `pdbs/{split}/` or `pdb_tarfiles/{split}/`.
"""

import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
from huggingface_hub.errors import EntryNotFoundError
from numpy.typing import NDArray

from prosebench.energy.gate import measure_gate
from prosebench.ensemble import Ensemble
from prosebench.frames.features import n_tica_features
from prosebench.frames.tica import TicaBasis
from prosebench.peptide import Peptide
from prosebench.peptide.force_field import system_hash
from prosebench.peptide.labels import atom_labels
from prosebench.reference import (
    InvalidReferenceError,
    MissingReferenceError,
    Reference,
    missing_message,
    peptide_from_text,
)
from prosebench.reference.reference import N_GATE_FRAMES
from prosebench.store.hub import DATA_VARIABLE, data_folder, hub_problem
from prosebench.store.places import DATASET, SPLITS, frames_file, topologies_file
from prosebench.store.storage import DamagedFile, file_sha256, read_arrays

PUBLISHED_FRAME_INTERVAL_PS = 10.0
PUBLISHED_LAG_FRAMES = 100
_HUB_TIMEOUT_SECONDS = 10.0
_ARRAYS = ("positions", "tica_projection", "tica_mean", "tica_dim")


@dataclass(frozen=True, eq=False)
class PublishedReference:
    """Published frames of a peptide (n, atoms, 3) in nm with their TICA basis, and where they were read from.

    The peptide is that of pdb, the text of the published PDB file: its atoms are in the order of the frames.
    """

    peptide: Peptide
    positions_nm: NDArray[np.float32]
    tica: TicaBasis
    source: dict[str, Any]
    pdb: str

    def to_reference(
        self, energy: Callable[[NDArray[np.float32]], NDArray[np.float64]], temperature_kelvin: float = 310.0
    ) -> Reference:
        """The reference with energies (n,) in kT from `energy`, the method of a target at temperature_kelvin.

        The published files hold no energies. Raises InvalidReferenceError where an energy is not finite.
        """
        energies = np.asarray(energy(self.positions_nm), dtype=np.float64)
        if not np.isfinite(energies).all():
            bad = int((~np.isfinite(energies)).sum())
            raise InvalidReferenceError(
                f"{self.source['file']}: {bad} of {len(energies)} energies are not finite; download it again"
            )
        gate = measure_gate(self.peptide, self.positions_nm[:N_GATE_FRAMES])
        return Reference(
            sequence=self.peptide.sequence,
            atoms=atom_labels(self.peptide),
            ensemble=Ensemble(self.positions_nm, energies),
            tica=self.tica,
            trajectory=np.zeros(len(energies), dtype=np.int32),
            frame=np.arange(len(energies), dtype=np.int64),
            gate_energies_kj_mol=gate.energies_kj_mol,
            temperature_kelvin=temperature_kelvin,
            force_field_hash=system_hash(self.peptide.system()),
            source=self.source,
            pdb=self.pdb,
            # As published: all frames of the file are scored against, and none is left for a control.
            n_scored=len(energies),
        )


def read_published(
    sequence: str, *, folder: Path | None = None, revision: str = "main", cache: Path | None = None
) -> PublishedReference:
    """The published reference of a peptide.

    From `folder`, by default that of the environment variable PROSEBENCH_DATA; without either from the hub,
    at a revision (tag or commit) and kept in a cache folder (by default the one of huggingface_hub). The
    commit that was read is in `source`. Raises MissingReferenceError where the data cannot be had,
    InvalidReferenceError where they are damaged or hold the TICA basis of another feature set.
    """
    fetch = dataset_files(folder, revision, cache)
    for split in SPLITS:
        arrays_path = fetch(frames_file(sequence, split))
        if arrays_path is not None:
            return _read(sequence, split, arrays_path, fetch)
    raise MissingReferenceError(f"{fetch.name} has no frames of {sequence}; {missing_message(sequence)}")


def dataset_files(
    folder: Path | None, revision: str = "main", cache: Path | None = None
) -> "_LocalCopy | _Hub":
    """What gives the path of a file of the dataset by its name there, or None where there is no such file.

    Where to look is as in `read_published`. Raises MissingReferenceError for a folder that is none.
    """
    local = folder or data_folder()
    return _LocalCopy(local) if local else _Hub(revision, cache)


class _LocalCopy:
    """Finds files in a folder laid out as the dataset."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.name = str(folder)
        if not self.folder.is_dir():
            raise MissingReferenceError(
                f"{folder} is not a folder; {DATA_VARIABLE} must name a copy of {DATASET}"
            )

    def __call__(self, name: str) -> Path | None:
        path = self.folder / name
        return path if path.is_file() else None

    def source(self, path: Path) -> dict[str, Any]:
        return {"file": path.name, "sha256": file_sha256(path)}


class _Hub:
    """Fetches files from the hub, once; where it is out of reach, from its cache on this machine."""

    def __init__(self, revision: str, cache: Path | None) -> None:
        self.revision = revision
        self.cache = cache
        self.name = f"https://huggingface.co/datasets/{DATASET} at {revision}"
        problem = hub_problem()
        self.cache_only = problem is not None
        if problem:
            self.name = f"{self.name} cannot be reached ({problem}), and its cache on this machine"

    def __call__(self, name: str) -> Path | None:
        try:
            path = huggingface_hub.hf_hub_download(
                DATASET,
                name,
                repo_type="dataset",
                revision=self.revision,
                cache_dir=self.cache,
                etag_timeout=_HUB_TIMEOUT_SECONDS,
                local_files_only=self.cache_only,
            )
        except EntryNotFoundError:
            return None
        except Exception as error:
            # The client passes on what its HTTP library raises, and that library differs by version.
            raise MissingReferenceError(f"{self.name} does not give {name} ({error}); try later") from error
        return Path(path)

    def source(self, path: Path) -> dict[str, Any]:
        parts = path.parts
        commit = parts[parts.index("snapshots") + 1] if "snapshots" in parts else self.revision
        return {"file": path.name, "sha256": file_sha256(path), "commit": commit}


def _read(sequence: str, split: str, arrays_path: Path, fetch: _LocalCopy | _Hub) -> PublishedReference:
    try:
        arrays = read_arrays(arrays_path)
    except DamagedFile as error:
        raise InvalidReferenceError(f"{arrays_path} is damaged; download it again ({error})") from error
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise InvalidReferenceError(
            f"{arrays_path} lacks {', '.join(missing)}; it is not a file of {DATASET}"
        )
    pdb = _pdb(sequence, split, fetch)
    peptide = peptide_from_text(sequence, pdb)
    positions = arrays["positions"].astype(np.float32)
    if positions.ndim != 3 or positions.shape[1:] != (peptide.n_atoms, 3) or not np.isfinite(positions).all():
        raise InvalidReferenceError(
            f"{arrays_path} has positions of shape {positions.shape}, or not all finite; "
            f"{sequence} needs (frames, {peptide.n_atoms}, 3). Download it again"
        )
    return PublishedReference(
        peptide=peptide,
        pdb=pdb,
        positions_nm=positions,
        tica=_tica(arrays, peptide, arrays_path),
        source={"kind": "published", "dataset": DATASET, "split": split}
        | fetch.source(arrays_path)
        | {
            "frame_interval_ps": PUBLISHED_FRAME_INTERVAL_PS,
            "tica": {"lag_frames": PUBLISHED_LAG_FRAMES},
        },
    )


def _tica(arrays: dict[str, NDArray[Any]], peptide: Peptide, path: Path) -> TicaBasis:
    expected = n_tica_features(peptide.topology)
    length = len(np.atleast_1d(arrays["tica_mean"]))
    if length != expected:
        raise InvalidReferenceError(
            f"{path} holds a TICA basis of {length} features; {peptide.sequence} has {expected}. Files of "
            "8-residue peptides from before 2025-12-15 hold a wrong one (CA distances only): get it again"
        )
    if int(arrays["tica_dim"]) < 2:
        raise InvalidReferenceError(f"{path} holds {int(arrays['tica_dim'])} TICA component; two are needed")
    return TicaBasis(arrays["tica_projection"], arrays["tica_mean"])


def _pdb(sequence: str, split: str, fetch: _LocalCopy | _Hub) -> str:
    for unpacked in (f"pdbs/{split}/{sequence}.pdb", f"pdb_tarfiles/{split}/{sequence}.pdb"):
        path = fetch(unpacked) if isinstance(fetch, _LocalCopy) else None
        if path is not None:
            return path.read_text()
    tar_path = fetch(topologies_file(split))
    if tar_path is None:
        raise MissingReferenceError(f"{fetch.name} lacks the PDB files of the {split} peptides")
    return _member(tar_path, f"{sequence}.pdb").decode()


def _member(tar_path: Path, name: str) -> bytes:
    """Content of the member with this file name, in whatever folder of the archive."""
    try:
        with tarfile.open(tar_path) as archive:
            for member in archive:
                if member.isfile() and Path(member.name).name == name:
                    return (archive.extractfile(member) or io.BytesIO()).read()
    except tarfile.TarError as error:
        raise InvalidReferenceError(f"{tar_path} is damaged ({error}); download it again") from error
    raise MissingReferenceError(f"{tar_path} has no {name}")
