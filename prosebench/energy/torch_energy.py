"""The molecular energy and its analytic gradient in torch, for whole batches of frames, on CPU or CUDA.

    E = sum_bonds k/2 (r - r0)^2 + sum_angles k/2 (theta - theta0)^2          [1]
      + sum_torsions sum_m cos_m cos(m phi) + sin_m sin(m phi)                [1]
      + sum_pairs c12/r^12 - c6/r^6 + q_ij (1/r + krf r^2 - crf)              [2] the reaction field
      + sum_atoms self_i / B_i + sum_pairs g_ij (1/f_ij - shift)              [3]
        f^2 = r^2 + B_i B_j exp(-r^2 / (4 B_i B_j))
        1/B_i = 1/o_i - tanh(alpha psi - beta psi^2 + gamma psi^3) / R_i,  psi = o_i I_i
        I_i = sum_j H(r_ij; o_i, s_j)                                         [4]
      + sum_atoms surface_i (R_i / B_i)^6                                     [5]

[1] amber14, ff14SB: Maier et al., JCTC 2015, 11, 3696. [2] Tironi et al., JCP 1995, 102, 5451.
[3] OBC: Onufriev, Bashford and Case, Proteins 2004, 55, 383. [4] Hawkins, Cramer and Truhlar, J. Phys. Chem.
1996, 100, 19824. [5] ACE: Schaefer, Bartels and Karplus, JMB 1998, 284, 835, as in OpenMM's GBSAOBCForce.

with H = 1/2 [1/L - 1/U + (r - s^2/r)/4 (1/U^2 - 1/L^2) + log(L/U)/(2r)], U = r + s, L = max(o, |r - s|), 0
where U < o; the GBn models add a neck (Mongan et al., JCTC 2007, 3, 156). Symbols are those of
`EnergyParameters`.

Frames are the innermost axis: positions are (3, atoms, frames) and every term is arithmetic on whole rows of
frames. Pairs lie on a ring (`PairRing`), so that gathering partners is a view and summing over them is a
reduction.

What is known of it was measured on CPUs. On CUDA it is the same operations, one kernel each and not fused; the test
that compares the two devices runs where there is a GPU, and nothing has been timed there.
"""

import torch
from torch import Tensor

from prosebench.energy.parameters import EnergyParameters
from prosebench.energy.torch_bonded import BondedTerms
from prosebench.energy.torch_pairs import NonbondedTerms, PairDistances, PairRing
from prosebench.energy.torch_solvent import SolventTerms

PAIR_ELEMENTS = {"cpu": 120_000, "cuda": 16_000_000}
"""Pairs x frames computed at once: within a core's second-level cache, or some GB on an accelerator."""

BONDED_FRAMES = {"cpu": 256, "cuda": 16_384}
"""Frames whose bonded terms are computed at once: there are fewer terms than pairs."""


class TorchEnergy:
    """Energies (kJ/mol) and gradients (kJ/mol/nm) of batches of frames; tensors in, tensors out, on one
    device.

    dtype is that of the arithmetic of angles, torsions and pairs; bonds and all sums of energies are in
    double. Memory is bounded by chunks of frames. A frame that is not finite, or whose energy or gradient is
    not, has energy inf and gradient 0 and leaves other frames alone. Cutoffs are applied pair by pair only in
    chunks with pairs beyond them, so the last digits of an energy may depend on the frames it is computed
    with.
    """

    def __init__(
        self,
        parameters: EnergyParameters,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device, self.dtype = torch.device(device), dtype
        self.n_atoms = parameters.n_atoms
        self._ring = PairRing(parameters.n_atoms, self.device)
        self._bonded = BondedTerms(parameters, dtype, self.device)
        self._nonbonded = NonbondedTerms(parameters, self._ring, dtype)
        self._solvent = None if parameters.gb is None else SolventTerms(parameters.gb, self._ring, dtype)
        elements = PAIR_ELEMENTS.get(self.device.type, PAIR_ELEMENTS["cuda"])
        self._pair_frames = max(16, elements // max(1, self._ring.rows * self.n_atoms) // 16 * 16)
        self._chunk_frames = BONDED_FRAMES.get(self.device.type, BONDED_FRAMES["cuda"])
        _keep_freed_memory()

    def energy(self, frames_nm: Tensor) -> Tensor:
        """Energies (n,) in kJ/mol, double, of frames (n, atoms, 3) in nm."""
        return self._evaluate(frames_nm, gradient=False)[0]

    def energy_and_gradient(self, frames_nm: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n,) in kJ/mol and gradients (n, atoms, 3) in kJ/mol/nm, both double."""
        energies, gradients = self._evaluate(frames_nm, gradient=True)
        assert gradients is not None
        return energies, gradients

    @torch.no_grad()
    def _evaluate(self, frames_nm: Tensor, *, gradient: bool) -> tuple[Tensor, Tensor | None]:
        energies = torch.empty(len(frames_nm), dtype=torch.float64, device=self.device)
        gradients = torch.empty((len(frames_nm), self.n_atoms, 3), dtype=torch.float64, device=self.device)
        for start in range(0, len(frames_nm), self._chunk_frames):
            part = slice(start, start + self._chunk_frames)
            chunk = frames_nm[part].to(self.device, torch.float64)
            finite = chunk.isfinite().all(dim=(1, 2))
            x = torch.where(finite[:, None, None], chunk, 0.0).permute(2, 1, 0)
            energy, gradient_rows = self._chunk((x - x.mean(1, keepdim=True).round()).contiguous(), gradient)
            finite &= energy.isfinite()
            if gradient_rows is not None:
                finite &= gradient_rows.isfinite().all(dim=(0, 1))
                gradients[part] = torch.where(finite, gradient_rows, 0.0).permute(2, 1, 0)
            energies[part] = torch.where(finite, energy, torch.inf)
        return energies, gradients if gradient else None

    def _chunk(self, x: Tensor, gradient: bool) -> tuple[Tensor, Tensor | None]:
        """Energies (frames,) and gradient (3, atoms, frames) of positions near the origin, all in double."""
        energy = torch.zeros(x.shape[-1], dtype=torch.float64, device=self.device)
        total = torch.zeros_like(x) if gradient else None
        self._bonded.add(x, energy, total)
        for start in range(0, x.shape[-1], self._pair_frames):
            part = slice(start, start + self._pair_frames)
            pair_energy, pair_gradient = self._pairs(x[..., part].to(self.dtype), gradient)
            energy[part] += pair_energy
            if total is not None and pair_gradient is not None:
                total[..., part] += pair_gradient
        return energy, total

    def _pairs(self, x: Tensor, gradient: bool) -> tuple[Tensor, Tensor | None]:
        """Energies (frames,) in double and gradient (3, atoms, frames) of all pair terms and the solvent."""
        ring = self._ring
        delta = x[:, None] - ring.partner(x)
        pairs = PairDistances.of(delta)
        pair_energies, constant, pull = self._nonbonded(pairs, gradient)
        energy = torch.full((x.shape[-1],), constant, dtype=torch.float64, device=self.device)
        if self._solvent is not None:
            energy += self._solvent.add(pairs, pair_energies, pull)
        energy += pair_energies.sum((0, 1), dtype=torch.float64)
        if pull is None:
            return energy, None
        gradient_rows = []
        for component in delta:
            buffer, body = ring.room(component)
            torch.mul(component, pull, out=body)
            gradient_rows.append(ring.sum_second(buffer) - body.sum(0))
        return energy, torch.stack(gradient_rows)


def _keep_freed_memory() -> None:
    """Let the C library keep temporaries for reuse: freeing one block of this size raises its threshold for
    giving memory back to the system (glibc's dynamic mmap threshold), without which every chunk pays for page
    faults.
    """
    torch.empty(30 * 2**20, dtype=torch.uint8)
