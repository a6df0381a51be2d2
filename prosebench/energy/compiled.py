"""Loading the native library: where it is, whether it fits, and which instruction set it will use."""

import ctypes
import os
from ctypes import POINTER, c_double, c_float, c_int32, c_int64, c_uint8, c_uint32, c_uint64, c_void_p
from functools import cache
from pathlib import Path

ENVIRONMENT_VARIABLE = "PROSEBENCH_INSTRUCTION_SET"
INSTRUCTION_SETS = ("avx512", "avx2", "plain")


class NativeUnavailable(RuntimeError):
    """The native library is missing, does not load, or was asked for an instruction set the CPU lacks."""


class Parameters(ctypes.Structure):
    """Mirror of struct Parameters in engine.cpp."""

    _fields_ = (
        [(name, c_int32) for name in ("n_atoms", "n_bonds", "n_angles", "n_torsions", "has_solvent")]
        + [(name, c_double) for name in ("cutoff", "reaction_k", "reaction_c", "solvent_shift")]
        + [("masses", POINTER(c_double))]
        + [(name, POINTER(c_int32)) for name in ("bond_atoms", "angle_atoms", "torsion_atoms")]
        + [(name, POINTER(c_double)) for name in ("bond_length", "bond_constant", "angle_radians")]
        + [(name, POINTER(c_double)) for name in ("angle_constant", "torsion_cos", "torsion_sin")]
        + [(name, POINTER(c_double)) for name in ("pair_c12", "pair_c6", "pair_charge", "pair_solvent")]
        + [("pair_is_exception", POINTER(c_uint8))]
        + [
            (name, POINTER(c_double))
            for name in ("radius", "offset_radius", "scaled_radius", "alpha", "beta")
        ]
        + [(name, POINTER(c_double)) for name in ("gamma", "self_coefficient", "surface_coefficient")]
        + [(name, POINTER(c_double)) for name in ("neck_height", "neck_distance", "neck_reach")]
    )


class EnergyBatch(ctypes.Structure):
    """Mirror of struct EnergyBatch in molecule.h."""

    _fields_ = (
        ("n_frames", c_int64),
        ("frames", c_void_p),
        ("frames_are_double", c_int32),
        ("scale", c_double),
        ("energy", POINTER(c_double)),
        ("gradient", POINTER(c_double)),
    )


class LangevinBatch(ctypes.Structure):
    """Mirror of struct LangevinBatch in molecule.h."""

    _fields_ = (
        ("n_replicas", c_int64),
        ("n_steps", c_int64),
        ("time_step_ps", c_double),
        ("friction_per_ps", c_double),
        ("kt", POINTER(c_double)),
        ("key", c_uint64),
        ("first_step", c_uint64),
        ("first_replica", c_uint32),
        ("n_keep", c_int64),
        ("keep_steps", POINTER(c_int64)),
        ("scale", c_double),
        ("positions", POINTER(c_double)),
        ("velocities", POINTER(c_double)),
        ("kept_frames", POINTER(c_float)),
        ("kept_energies", POINTER(c_double)),
        ("failed", POINTER(c_uint8)),
    )


def library_path() -> Path | None:
    """The path of the library; None if it was not built."""
    return next(iter(sorted((Path(__file__).parent / "native").glob("_kernel*.so"))), None)


REBUILD = (
    "with g++ or clang++ at hand, rebuild it: `pip install --no-deps --force-reinstall .`, or in a source tree "
    "`python setup.py build_ext --inplace`"
)


@cache
def load_library() -> ctypes.CDLL:
    """The library with its functions declared. Raises NativeUnavailable, with what to do about it."""
    path = library_path()
    if path is None:
        raise NativeUnavailable(
            f"the native energy library is not built (no C++ compiler at installation?); {REBUILD}"
        )
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise NativeUnavailable(
            f"the native energy library {path} does not load: {error}; {REBUILD}"
        ) from error
    sizes = (c_int32 * 3)()
    if hasattr(library, "prosebench_sizes"):
        library.prosebench_sizes(sizes)
    if list(sizes) != [ctypes.sizeof(kind) for kind in (Parameters, EnergyBatch, LangevinBatch)]:
        raise NativeUnavailable(f"the native energy library {path} is from other sources; {REBUILD}")
    library.prosebench_supports.argtypes = [ctypes.c_char_p]
    library.prosebench_create.argtypes = [POINTER(Parameters), ctypes.c_char_p, ctypes.c_int, ctypes.c_int]
    library.prosebench_create.restype = c_void_p
    library.prosebench_destroy.argtypes = [c_void_p]
    library.prosebench_destroy.restype = None
    library.prosebench_energies.argtypes = [c_void_p, POINTER(EnergyBatch)]
    library.prosebench_energies.restype = None
    library.prosebench_langevin.argtypes = [c_void_p, POINTER(LangevinBatch)]
    library.prosebench_langevin.restype = None
    return library


def why_unavailable() -> str | None:
    """Why the native kernel cannot be used here and what to do about it; None if it can."""
    try:
        instruction_set()
    except NativeUnavailable as error:
        return str(error)
    return None


def available() -> bool:
    """Whether the native kernel can be used on this machine."""
    return why_unavailable() is None


def instruction_set() -> str:
    """The instruction set in use: the best of this CPU, or the one named by PROSEBENCH_INSTRUCTION_SET.

    Raises NativeUnavailable if there is no library, or if the named set is unknown or not one of this CPU's.
    """
    library = load_library()
    supported = [name for name in INSTRUCTION_SETS if library.prosebench_supports(name.encode())]
    wanted = os.environ.get(ENVIRONMENT_VARIABLE, "").lower()
    if not wanted:
        return supported[0]
    if wanted not in supported:
        known = ", ".join(supported)
        raise NativeUnavailable(f"{ENVIRONMENT_VARIABLE}={wanted!r}: this CPU has {known}")
    return wanted
