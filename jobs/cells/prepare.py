"""What all cells of a peptide share, made once per run folder: the start structure and the gate."""

import hashlib
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from prosebench.energy.gate import Gate, make_gate
from prosebench.energy.settings import TargetSettings
from prosebench.ensemble import Ensemble
from prosebench.frames.bonds import bond_fault
from prosebench.peptide import Peptide
from prosebench.peptide.force_field import system_hash
from prosebench.record import Cell
from prosebench.reference import Reference, peptide_from_text
from prosebench.store.storage import array_text, arrays_bytes, json_bytes, read_arrays, text_array, write_once


def prepare(
    directory: Path, sequence: str, settings: TargetSettings, reference_path: Path | None
) -> tuple[Peptide, Gate]:
    """The peptide with the start structure of this run folder, and its gate; made by whoever comes first.

    A published reference may have its atoms in another order than ours; then so has the peptide. Minimisation ends a
    few bits apart on different machines. Cells of one peptide must not, so the file decides.
    """
    path = _place(directory, sequence, settings)
    if not path.exists():
        pdb = Reference.load(reference_path).pdb if reference_path else ""
        peptide = peptide_from_text(sequence, pdb)
        gate = make_gate(peptide, settings.force_field)
        content: dict[str, NDArray[Any]] = {
            "start_nm": peptide.start_nm,
            "pdb": text_array(pdb),
            "gate_nm": gate.frames_nm,
            "gate_kj_mol": gate.energies_kj_mol,
        }
        write_once(path, arrays_bytes(content))
    arrays = read_arrays(path)
    peptide = peptide_from_text(sequence, array_text(arrays["pdb"]))
    return peptide.with_start(arrays["start_nm"]), Gate(arrays["gate_nm"], arrays["gate_kj_mol"])


def _place(directory: Path, sequence: str, settings: TargetSettings) -> Path:
    physics = hashlib.sha256(json_bytes(settings.force_field.model_dump(mode="json"))).hexdigest()[:8]
    return directory / "peptides" / f"{sequence}-{physics}.npz"


def peptide_of(directory: Path, cell: Cell, ensemble: Ensemble) -> Peptide:
    """The peptide of a cell of a run folder, with its atoms in the order of the cell's frames.

    From the run folder or, where that was not kept, from the sequence. Raises ValueError where the frames are not of
    it, as those of published references in another order.
    """
    path = _place(directory, cell.peptide, cell.target)
    pdb = array_text(read_arrays(path)["pdb"]) if path.exists() else ""
    peptide = peptide_from_text(cell.peptide, pdb)
    frames = ensemble.positions_nm
    fault = (
        bond_fault(frames[:1000], peptide.topology) if frames.shape[1] == peptide.n_atoms else "other atoms"
    )
    if fault and not path.exists():
        raise ValueError(
            f"{path} is not there, and the atoms of the frames have not the usual order: {fault}"
        )
    return peptide


def start_hash(peptide: Peptide) -> str:
    """SHA-256 of the start structure's bytes."""
    return hashlib.sha256(peptide.start_nm.tobytes()).hexdigest()


def force_field_hash(peptide: Peptide, settings: TargetSettings) -> str:
    """Hash of the OpenMM System: the physics, down to each parameter."""
    return system_hash(peptide.system(settings.force_field))
