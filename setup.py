"""Builds the native library of energies and transport; everything else is in pyproject.toml.

The library is optional: without a C++ compiler the package installs all the same, computes energies with
OpenMM and distances with POT. It holds the kernels of several instruction sets, each from a source of its own
with flags of its own, and picks one when it runs, so the flags here never name the CPU of the machine that
builds.
"""

import platform
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

SOURCES = Path("prosebench/energy/native")
TRANSPORT = Path("prosebench/transport")
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-pthread", "-g0"]
ARITHMETIC = ["-fno-wrapv", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
WARNINGS = ["-Wall", "-Wextra", "-Wno-psabi", "-Wno-ignored-attributes", "-Wno-maybe-uninitialized"]
IS_X86 = platform.machine().lower() in ("x86_64", "amd64")
BASELINE = ["-march=x86-64"] if IS_X86 else []
AVX2 = ["-mavx2", "-mfma"]
AVX512 = [
    "-mavx512f",
    "-mavx512bw",
    "-mavx512dq",
    "-mavx512vl",
    "-mprefer-vector-width=512",
    "-mtune=icelake-server",
]
X86_FLAGS = {
    f"{kind}_{name}.cpp": flags
    for kind in ("kernel", "scan")
    for name, flags in (("avx2", AVX2), ("avx512", AVX2 + AVX512))
}


def write_commit(package: Path) -> None:
    """Leave the commit of this source tree in a package that is built from it, for `prosebench --version`."""
    home = Path(__file__).resolve().parent
    said = []
    for words in (["rev-parse", "--show-toplevel"], ["describe", "--always", "--dirty", "--abbrev=12"]):
        try:
            done = subprocess.run(
                ["git", "-C", str(home), *words], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            return
        said.append(done.stdout.strip())
    # A tree that lies unpacked in somebody else's repository is not of its commit.
    if package.is_dir() and Path(said[0]) == home:
        (package / "commit.txt").write_text(said[1] + "\n")


class BuildPython(build_py):
    """Writes the commit into what is built; a source tree that is installed in place asks git."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            write_commit(Path(self.build_lib) / "prosebench")


class Archive(sdist):
    """Writes the commit into the archive: there, no git will know it."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        write_commit(Path(base_dir) / "prosebench")


class AnyPython(bdist_wheel):
    """A wheel for this platform and every Python 3: the library is loaded by ctypes and knows none."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


class BuildKernel(build_ext):
    """Compiles every source with the flags of its instruction set; says so and goes on where that fails."""

    def build_extension(self, ext: Extension) -> None:
        try:
            objects = [path for source in ext.sources for path in self._compile(source)]
            target = Path(self.get_ext_fullpath(ext.name))
            target.parent.mkdir(parents=True, exist_ok=True)
            self.compiler.link_shared_object(
                objects, str(target), extra_postargs=["-pthread"], target_lang="c++"
            )
        except Exception as error:  # no compiler, an old one, a foreign one: the package works without
            print(
                f"prosebench: native energy library not built ({error}); OpenMM computes energies, 200 times slower",
                file=sys.stderr,
            )

    def _compile(self, source: str) -> list[str]:
        flags = FLAGS + ARITHMETIC + WARNINGS + BASELINE + X86_FLAGS.get(Path(source).name, [])
        return self.compiler.compile(
            [source], output_dir=self.build_temp, extra_postargs=flags, depends=self._headers()
        )

    def _headers(self) -> list[str]:
        return [str(path) for path in sorted([*SOURCES.glob("*.h"), *TRANSPORT.glob("*.h")])]

    def get_ext_filename(self, fullname: str) -> str:
        """A plain name: the library is loaded by ctypes and knows nothing of Python's ABI."""
        return str(Path(*fullname.split("."))) + ".so"

    def copy_extensions_to_source(self) -> None:
        """Also for editable installs; a library that was not built is not copied."""
        if Path(self.get_ext_fullpath(self.extensions[0].name)).exists() or self._built():
            super().copy_extensions_to_source()

    def _built(self) -> bool:
        return (Path(self.build_lib) / self.get_ext_filename(self.extensions[0].name)).exists()


instruction_sets = ["plain", "avx2", "avx512"] if IS_X86 else ["plain"]
sources = [SOURCES / "engine.cpp", TRANSPORT / "transport.cpp"]
for name in instruction_sets:
    sources += [SOURCES / f"kernel_{name}.cpp", TRANSPORT / f"scan_{name}.cpp"]
kernel = Extension(
    "prosebench.energy.native._kernel",
    sources=[str(source) for source in sources],
    optional=True,
    language="c++",
)
setup(
    ext_modules=[kernel],
    cmdclass={
        "bdist_wheel": AnyPython,
        "build_ext": BuildKernel,
        "build_py": BuildPython,
        "sdist": Archive,
    },
)
