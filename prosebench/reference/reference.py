"""The reference of a peptide: the ensemble taken as truth, with its TICA basis and how it was made."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prosebench.energy.gate import Gate, measure_gate
from prosebench.ensemble import Ensemble, concatenate
from prosebench.frames.features import tica_features
from prosebench.frames.tica import TicaBasis, fit_tica
from prosebench.names import name_at
from prosebench.peptide import Peptide
from prosebench.peptide.force_field import ForceField, system_hash
from prosebench.peptide.labels import atom_labels
from prosebench.reference.fixed_point import as_integers, as_positions, on_grid
from prosebench.store.places import bundled_folder, checkout_folder
from prosebench.store.storage import (
    DamagedFile,
    array_text,
    arrays_bytes,
    read_arrays,
    text_array,
    write_arrays,
)

SCHEMA_VERSION = 1
N_GATE_FRAMES = 16
_ARRAYS = (
    "energies_kt",
    "trajectory",
    "frame",
    "tica_projection",
    "tica_mean",
    "gate_energies_kj_mol",
)
_META = ("sequence", "atoms", "temperature_kelvin", "force_field_hash", "source", "convergence", "floor")


_LATER_META = ("pdb", "n_scored")


class InvalidReferenceError(ValueError):
    """A reference that cannot be used; the message names the file, the reason and what to do."""


class MissingReferenceError(FileNotFoundError):
    """No reference of a peptide was found; the message lists the ways to get one."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Equilibrium frames of a peptide in random order, fixed once.

    atoms: labels as `atom_labels` gives them; ensemble: frames (n, atoms, 3) in nm with energies in kT at
    temperature_kelvin; tica: the basis every score uses; trajectory, frame (n,): where each frame comes from;
    gate_energies_kj_mol (up to 16,): energies of the first frames by OpenMM's Reference platform in double
    precision, which any other engine must reproduce; source, convergence, floor: JSON; pdb: text of the PDB file
    that fixes the order of the atoms, empty where it is that of Peptide.from_sequence;
    n_scored: how many frames, from the first on, are scored against (None: one half).
    """

    sequence: str
    atoms: tuple[str, ...]
    ensemble: Ensemble
    tica: TicaBasis
    trajectory: NDArray[np.int32]
    frame: NDArray[np.int64]
    gate_energies_kj_mol: NDArray[np.float64]
    temperature_kelvin: float
    force_field_hash: str
    source: dict[str, Any]
    convergence: dict[str, Any] = field(default_factory=dict)
    floor: dict[str, float] = field(default_factory=dict)
    pdb: str = ""
    n_scored: int | None = None

    def __len__(self) -> int:
        return len(self.ensemble)

    @property
    def scored(self) -> Ensemble:
        """The frames that methods are scored against."""
        return self.ensemble.select(self.halves[0])

    @property
    def spare(self) -> Ensemble:
        """The other frames, never scored against: what a perfect sampler would return."""
        return self.ensemble.select(self.halves[1])

    @property
    def in_time(self) -> Ensemble:
        """All frames, trajectory after trajectory in the order of time: so averages know how alike neighbours are."""
        return self.ensemble.select(np.lexsort((self.frame, self.trajectory))).of(self.peptide)

    @cached_property
    def halves(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places of the frames that are scored against, and of the spare ones, each in the order of the ensemble.

        Where several trajectories were run, each gives its frames to one half: frames of one trajectory know of each
        other, and a perfect sampler's frames know nothing of the reference. A single trajectory, or a reference
        that says how many frames are scored, is cut at a place in its random order.
        """
        ids, counts = np.unique(self.trajectory, return_counts=True)
        if self.n_scored is not None or len(ids) < 2:
            first = len(self) // 2 if self.n_scored is None else self.n_scored
            return np.arange(first), np.arange(first, len(self))
        sizes, chosen = [0, 0], []
        for trajectory, number in zip(ids, counts, strict=True):
            smaller = int(sizes[1] < sizes[0])
            sizes[smaller] += int(number)
            if smaller == 0:
                chosen.append(trajectory)
        is_scored = np.isin(self.trajectory, chosen)
        return np.flatnonzero(is_scored), np.flatnonzero(~is_scored)

    @property
    def gate(self) -> Gate:
        """The first frames with their energies by OpenMM's Reference platform, which a target must reproduce."""
        frames = self.ensemble.positions_nm[: len(self.gate_energies_kj_mol)]
        return Gate(frames.astype(np.float64), self.gate_energies_kj_mol)

    @cached_property
    def peptide(self) -> Peptide:
        """The peptide with its atoms in the order of the frames."""
        return peptide_from_text(self.sequence, self.pdb)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of everything in the reference."""
        return hashlib.sha256(arrays_bytes(self._contents())).hexdigest()

    def with_quality(self, convergence: Mapping[str, Any], floor: Mapping[str, float]) -> "Reference":
        """The same reference with what is known of its convergence and of its noise floor."""
        return replace(self, convergence=dict(convergence), floor=dict(floor))

    def save(self, path: str | Path, *, compress: bool = True) -> str:
        """Write an `.npz` file whose bytes depend on the content alone; returns its SHA-256.

        Positions that are whole steps (`prosebench.reference.fixed_point`) take 16 bits, others 32.
        """
        return write_arrays(Path(path), self._contents(), compress=compress)

    def _contents(self) -> dict[str, NDArray[Any]]:
        meta = {"schema": SCHEMA_VERSION} | {name: getattr(self, name) for name in _META + _LATER_META}
        return {
            "meta": text_array(json.dumps(meta, sort_keys=True, allow_nan=False)),
            **_stored_positions(self.ensemble.positions_nm),
            "energies_kt": self.ensemble.energies_kt,
            "trajectory": self.trajectory,
            "frame": self.frame,
            "tica_projection": self.tica.projection,
            "tica_mean": self.tica.mean,
            "gate_energies_kj_mol": self.gate_energies_kj_mol,
        }

    @classmethod
    def load(cls, path: str | Path, peptide: Peptide | None = None) -> "Reference":
        """Read what `save` wrote and, where a peptide is given, check that it is the same molecule.

        Raises InvalidReferenceError where the file is damaged, of another kind or schema, or of other atoms.
        """
        arrays, meta = _read(Path(path))
        try:
            reference = cls(
                sequence=meta["sequence"],
                atoms=tuple(meta["atoms"]),
                ensemble=Ensemble(_positions(arrays), arrays["energies_kt"]),
                tica=TicaBasis(arrays["tica_projection"], arrays["tica_mean"]),
                trajectory=arrays["trajectory"],
                frame=arrays["frame"],
                gate_energies_kj_mol=arrays["gate_energies_kj_mol"],
                temperature_kelvin=meta["temperature_kelvin"],
                force_field_hash=meta["force_field_hash"],
                source=meta["source"],
                convergence=meta["convergence"],
                floor=meta["floor"],
                **{name: meta[name] for name in _LATER_META if name in meta},
            )
        except (ValueError, TypeError) as error:
            raise InvalidReferenceError(
                f"{path} holds an inconsistent reference ({error}); {_REMAKE}"
            ) from error
        if reference.ensemble.positions_nm.shape[1] != len(reference.atoms):
            raise InvalidReferenceError(
                f"{path} names {len(reference.atoms)} atoms, its frames have "
                f"{reference.ensemble.positions_nm.shape[1]}; {_REMAKE}"
            )
        if peptide is not None:
            _check_atoms(reference, peptide, str(path))
        return reference


def _stored_positions(positions_nm: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Positions as 16-bit steps where they are whole steps, else as they are."""
    if on_grid(positions_nm):
        return {"positions_steps": as_integers(positions_nm)}
    return {"positions_nm": positions_nm}


def _positions(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    if "positions_steps" not in arrays:
        return arrays["positions_nm"]
    if arrays["positions_steps"].dtype != np.int16:
        raise ValueError(f"positions_steps are {arrays['positions_steps'].dtype}, not int16")
    return as_positions(arrays["positions_steps"])


_REMAKE = "make it again with `prosebench reference`, or restore it from a copy"


def peptide_from_text(sequence: str, pdb: str) -> Peptide:
    """The peptide of a PDB file's text, or of the sequence where the text is empty."""
    if not pdb:
        return Peptide.from_sequence(sequence)
    with NamedTemporaryFile("w", suffix=".pdb") as file:
        file.write(pdb)
        file.flush()
        return Peptide.from_pdb(file.name)


def build_reference(
    peptide: Peptide,
    trajectories: Sequence[Ensemble],
    *,
    sampled: Sequence[Ensemble] | None = None,
    frame_interval_ps: float,
    lag_frames: int,
    n_frames: int,
    seed: int,
    source: Mapping[str, Any],
    temperature_kelvin: float = 310.0,
    force_field: ForceField | None = None,
    koopman_reweighting: bool = True,
) -> Reference:
    """Make a reference from MD trajectories whose frames are frame_interval_ps apart.

    The TICA basis is fitted on all frames at a lag of lag_frames; then n_frames of them, or of the chains `sampled` of
    the same distribution, are drawn without replacement, in random order. Energies are in kT at temperature_kelvin.
    `source` says how they were made. Raises InvalidReferenceError where there are too few frames or one is not finite,
    TicaError from the fit.
    """
    sampled = trajectories if sampled is None else sampled
    pool = concatenate(list(sampled))
    if not (np.isfinite(pool.energies_kt).all() and np.isfinite(pool.positions_nm).all()):
        bad = int((~np.isfinite(pool.energies_kt)).sum())
        raise InvalidReferenceError(
            f"{peptide.sequence}: {bad} of {len(pool)} frames are not finite; sample again"
        )
    if not 2 <= n_frames <= len(pool):
        raise InvalidReferenceError(
            f"{peptide.sequence}: cannot draw {n_frames} frames from {len(pool)} in all; sample longer"
        )
    features = [tica_features(part.positions_nm, peptide.topology) for part in trajectories]
    tica = fit_tica(features, lag_frames, koopman_reweighting=koopman_reweighting)
    drawn = np.random.default_rng(seed).choice(len(pool), size=n_frames, replace=False)
    lengths = np.array([len(part) for part in sampled])
    origin = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    ensemble = Ensemble(pool.positions_nm[drawn], pool.energies_kt[drawn])
    gate = measure_gate(peptide, ensemble.positions_nm[:N_GATE_FRAMES], force_field)
    return Reference(
        sequence=peptide.sequence,
        atoms=atom_labels(peptide),
        ensemble=ensemble,
        tica=tica,
        trajectory=origin[drawn],
        frame=(drawn - (np.cumsum(lengths) - lengths)[origin[drawn]]).astype(np.int64),
        gate_energies_kj_mol=gate.energies_kj_mol,
        temperature_kelvin=temperature_kelvin,
        force_field_hash=system_hash(peptide.system(force_field)),
        source=dict(source)
        | {
            "frame_interval_ps": frame_interval_ps,
            "trajectory_frames": lengths.tolist(),
            "total_ns": sum(map(len, trajectories)) * frame_interval_ps / 1000.0,
            "tica": {"lag_frames": lag_frames, "koopman_reweighting": koopman_reweighting, "hash": tica.hash},
            "draw_seed": seed,
        },
    )


def reference_name(sequence: str, temperature_kelvin: float = 310.0) -> str:
    """File name of a reference: ARIP.npz at the published 310 K, ARIP-393K.npz at another temperature."""
    return f"{name_at(sequence, temperature_kelvin)}.npz"


def find_reference(sequence: str, folders: Iterable[Path], temperature_kelvin: float = 310.0) -> Path:
    """Path of the reference in the first of the folders that has it, among the bundled ones, or in the checkout.

    Where there is none at the temperature, that at 310 K stands in: it knows the atoms, and whoever compares sees from
    its temperature that it is another. Raises MissingReferenceError, which lists the ways to get a reference.
    """
    names = dict.fromkeys((reference_name(sequence, temperature_kelvin), reference_name(sequence)))
    for name in names:
        for folder in (*map(Path, folders), bundled_folder(), checkout_folder()):
            if (folder / name).is_file():
                return folder / name
    raise MissingReferenceError(missing_message(sequence))


def known_reference(sequence: str, folders: Iterable[Path], temperature_kelvin: float = 310.0) -> Path | None:
    """Path that `find_reference` gives, or None where there is no reference."""
    try:
        return find_reference(sequence, folders, temperature_kelvin)
    except MissingReferenceError:
        return None


def missing_message(sequence: str) -> str:
    """What to tell someone who has no reference of a peptide: the ways to get one."""
    bundled = ", ".join(sorted(path.stem for path in bundled_folder().glob("*.npz"))) or "none"
    return (
        f"there is no reference for peptide {sequence}. Three ways to get one:\n"
        f"  1. use a peptide whose reference comes with the package (these: {bundled});\n"
        "  2. make your own by MD: `prosebench reference --suite SUITE`;\n"
        "  3. use the published one: `prosebench fetch --suite SUITE --to DATA` where the hub can be reached, then set "
        "PROSEBENCH_DATA=DATA (or any copy of the Hugging Face dataset transferable-samplers/many-peptides-md)."
    )


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    try:
        arrays = read_arrays(path)
        meta = json.loads(array_text(arrays["meta"]))
        version = meta["schema"]
    except DamagedFile as error:
        raise InvalidReferenceError(f"{path} is damaged ({error}); {_REMAKE}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidReferenceError(
            f"{path} is not a reference: it holds no readable description; {_REMAKE}"
        ) from error
    if version != SCHEMA_VERSION:
        raise InvalidReferenceError(
            f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}; "
            "make the reference again, or use the version of prosebench that wrote it"
        )
    missing = [name for name in _ARRAYS if name not in arrays] + [name for name in _META if name not in meta]
    if not {"positions_nm", "positions_steps"} & arrays.keys():
        missing.append("positions_nm or positions_steps")
    if missing:
        raise InvalidReferenceError(f"{path} lacks {', '.join(missing)}; {_REMAKE}")
    return arrays, meta


def _check_atoms(reference: Reference, peptide: Peptide, name: str) -> None:
    labels = atom_labels(peptide)
    if labels == reference.atoms:
        return
    pairs = enumerate(zip(reference.atoms, labels, strict=False))
    first = next(
        (f"atom {i} is {old}, not {new}" for i, (old, new) in pairs if old != new), "their numbers differ"
    )
    raise InvalidReferenceError(
        f"{name} is of other atoms than peptide {peptide.sequence}: {len(reference.atoms)} against "
        f"{len(labels)}, {first}. Use that peptide's reference, or the PDB file this one was made from"
    )
