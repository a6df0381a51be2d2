"""What is built and installed from this tree works in an empty folder, with a compiler and without one."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from prosebench.energy import native
from prosebench.rooms import ROOMS, HiddenRoom, check_room

TREE = Path(__file__).parents[1]
NOT_COPIED = shutil.ignore_patterns(
    ".git",
    ".venv",
    "build",
    "dist",
    "*.egg-info",
    "__pycache__",
    ".*_cache",
    "*.so",
    "results",
    "runs",
    "site",
    "prosebench-data",
    ".hypothesis",
)
needs_setuptools = pytest.mark.skipif(
    int(version("setuptools").partition(".")[0]) < 77, reason="setuptools before 77 cannot build this package"
)


def run(*command: str, cwd: Path, code: int = 0, **environment: str) -> str:
    """What a command prints, without anything of this tree on the path."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CC", "CXX")}
    done = subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=900,
        env=clean | {"OMP_NUM_THREADS": "1"} | environment,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, committed to a repository of its own."""
    folder = tmp_path_factory.mktemp("tree") / "prosebench"
    shutil.copytree(TREE, folder, ignore=NOT_COPIED)
    run("git", "init", "-q", cwd=folder)
    run("git", "add", "-A", cwd=folder)
    run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x", cwd=folder)
    return folder


def build_wheel(source: Path, to: Path, **environment: str) -> Path:
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(to),
    ]
    run(*pip, str(source), cwd=to, **environment)
    (wheel,) = to.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> dict[str, str]:
    """Install into an empty folder; the environment of processes that find it there."""
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(folder / "site"),
        str(wheel),
    ]
    run(*pip, cwd=folder)
    return {"PYTHONPATH": str(folder / "site"), "PYTHONSAFEPATH": "1"}


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def empty(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """An empty folder, and the environment of the installed wheel."""
    folder = tmp_path_factory.mktemp("empty")
    return folder, install(wheel, folder)


@needs_setuptools
def test_a_wheel_holds_what_is_needed_and_no_more(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    folders = {name.partition("/")[0] for name in names}
    assert {one for one in folders if not one.endswith(".dist-info")} == {"prosebench", *ROOMS}
    for name in (
        "prosebench/py.typed",
        "prosebench/commit.txt",
        "prosebench/suites/quickstart.toml",
        "prosebench/new_method/pyproject.toml.template",
        "prosebench/data/references/AA.npz",
        "jobs/clusters/cpu-nodes.toml",
        "analysis/published/table2.csv",
    ):
        assert name in names, name
    (metadata,) = (name for name in names if name.endswith("/METADATA"))
    text = ZipFile(wheel).read(metadata).decode()
    assert "Requires-Dist: torch>=2.13" in text
    assert "Author: The prosebench authors" in text
    assert "Classifier: Typing :: Typed" in text


@needs_setuptools
def test_the_installed_command_works_in_an_empty_folder(empty: tuple[Path, dict[str, str]]) -> None:
    folder, environment = empty
    python = [sys.executable, "-c", "import prosebench; print(prosebench.__file__)"]
    assert run(*python, cwd=folder, **environment).startswith(str(folder / "site"))
    command = [sys.executable, "-m", "prosebench.cli"]
    said = run(*command, "--version", cwd=folder, **environment)
    assert re.search(r"^prosebench \S+, commit [0-9a-f]{12}$", said, re.MULTILINE)
    if native.available():
        assert "compiled" in said
    assert "md " in run(*command, "list", "methods", cwd=folder, **environment)
    line = ["sample", "AA", "-n", "8", "--out", "aa.npz"]
    assert "wrote aa.npz" in run(*command, *line, cwd=folder, **environment)
    line = [
        "run",
        "--suite",
        "quickstart",
        "--peptides",
        "AA",
        "--methods",
        "md",
        "--budgets",
        "200",
        "--seeds",
        "0",
    ]
    line += ["--workers", "1", "--set", "md.warm_up_ps=0.5", "--no-report"]
    assert "1/1 cells ended" in run(*command, *line, cwd=folder, **environment)


@needs_setuptools
@pytest.mark.skipif(not native.available(), reason=str(native.why_unavailable()))
def test_the_wheel_has_kernels_for_every_instruction_set(empty: tuple[Path, dict[str, str]]) -> None:
    folder, environment = empty
    code = "from prosebench.energy.compiled import load_library, INSTRUCTION_SETS as known\n"
    code += "print(*[name for name in known if load_library().prosebench_supports(name.encode())])"
    supported = run(sys.executable, "-c", code, cwd=folder, **environment).split()
    assert "plain" in supported
    for name in supported:
        line = [sys.executable, "-m", "prosebench.cli", "--version"]
        said = run(*line, cwd=folder, PROSEBENCH_INSTRUCTION_SET=name, **environment)
        assert f"compiled, {name} on this CPU" in said


@needs_setuptools
def test_without_a_compiler_it_installs_and_samples(source: Path, tmp_path: Path) -> None:
    (tmp_path / "wheel").mkdir()
    # What an earlier build has left would be taken as it is.
    bare = shutil.copytree(source, tmp_path / "tree", ignore=NOT_COPIED)
    made = build_wheel(bare, tmp_path / "wheel", CC="false", CXX="false")
    assert not [name for name in ZipFile(made).namelist() if name.endswith(".so")]
    environment = install(made, tmp_path)
    command = [sys.executable, "-m", "prosebench.cli"]
    assert "the native energy library is not built" in run(*command, "--version", cwd=tmp_path, **environment)
    line = [
        "sample",
        "GG",
        "--method",
        "md",
        "--budget",
        "20",
        "-n",
        "5",
        "--set",
        "warm_up_ps=0.01",
        "--out",
        "gg.pdb",
    ]
    assert "5 frames of GG by md" in run(*command, *line, cwd=tmp_path, **environment)


@needs_setuptools
def test_a_source_archive_holds_docs_tests_and_constraints(source: Path, tmp_path: Path) -> None:
    code = "import sys; from setuptools.build_meta import build_sdist; print(build_sdist(sys.argv[1]))"
    run(sys.executable, "-c", code, str(tmp_path), cwd=source)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    for name in (
        "constraints.txt",
        "Makefile",
        "docs/cluster.md",
        "mkdocs.yml",
        "Containerfile",
        "tests/test_package.py",
        "tests/conformance/atom_orders.json",
        "prosebench/commit.txt",
        "prosebench/energy/native/engine.cpp",
        "prosebench/transport/scan.h",
        "jobs/clusters/cpu-nodes.toml",
        "setup.py",
    ):
        assert name in names, name
    assert not [name for name in names if name.endswith((".so", ".pyc"))]


@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-g++") is None, reason="no cross compiler for ARM here")
def test_the_kernels_compile_for_arm(tmp_path: Path) -> None:
    """With the flags of setup.py, without those of x86."""
    text = (TREE / "setup.py").read_text()
    flags = [flag for name in ("FLAGS", "ARITHMETIC", "WARNINGS") for flag in _list_in(text, name)]
    sources = ["energy/native/engine.cpp", "energy/native/kernel_plain.cpp"]
    sources += ["transport/transport.cpp", "transport/scan_plain.cpp"]
    places = [str(TREE / "prosebench" / source) for source in sources]
    compiler = ["aarch64-linux-gnu-g++", *flags, "-Werror", "-shared", "-o", str(tmp_path / "_kernel.so")]
    run(*compiler, *places, cwd=tmp_path)


def _list_in(text: str, name: str) -> list[str]:
    """A list of words that a module assigns to a name."""
    return ast.literal_eval(re.search(rf"^{name} = (\[[^\]]*\])", text, re.MULTILINE)[1])


def test_images_are_made_of_what_is_there() -> None:
    """No image is built here: their files take only what is committed, and the commands in them are known."""
    container, apptainer = (TREE / "Containerfile").read_text(), (TREE / "apptainer.def").read_text()
    for text in (container, apptainer):
        assert "git -C /source reset --quiet --hard" in text
        assert "/constraints.txt" in text
        for extra in re.findall(r"EXTRAS='\[(.*?)\]'", text):
            known = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            assert set(extra.split(",")) <= set(known)
    assert (TREE / ".dockerignore").read_text().splitlines()[-2:] == ["*", "!.git"]
    assert "prosebench-data /opt/prosebench-data" in apptainer


def test_constraints_pin_what_the_metadata_allow() -> None:
    pins = dict(
        line.split("==") for line in (TREE / "constraints.txt").read_text().splitlines() if "==" in line
    )
    project = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(one for more in project["optional-dependencies"].values() for one in more),
    ]
    lower = {name.lower().replace("_", "-"): pin for name, pin in pins.items()}
    for text in wanted:
        one = Requirement(text)
        if not one.extras:
            assert one.specifier.contains(lower[one.name.lower().replace("_", "-")]), text
    assert lower["torch"] == "2.13.0"


def test_folders_are_importable_under_the_name_of_the_package() -> None:
    import analysis.wasserstein
    import baselines.md

    assert import_module("prosebench.analysis.wasserstein") is analysis.wasserstein
    assert import_module("prosebench.baselines").md is baselines.md
    assert import_module("prosebench.jobs.cluster.profile").__name__ == "jobs.cluster.profile"
    assert analysis.wasserstein.__spec__.name == "analysis.wasserstein"
    with pytest.raises(ModuleNotFoundError):
        import_module("prosebench.analysis.nothing")


def test_a_package_that_hides_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "__init__.py").write_text("")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(TREE)])}
    for words, code in (
        (["-m", "prosebench", "--help"], 2),
        (["-c", "import prosebench.analysis.wasserstein"], 1),
    ):
        done = subprocess.run(
            [sys.executable, *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            check=False,
        )
        assert done.returncode == code
        assert (
            f"needs its own package 'analysis', and Python finds another: it is at {tmp_path}" in done.stderr
        )
    check_room("analysis")
    with pytest.raises(HiddenRoom, match="it is not installed"):
        check_room("no_such_room_at_all")
