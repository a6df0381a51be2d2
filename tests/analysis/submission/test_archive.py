"""The .tar file of a run: equal bytes for equal cells, and nothing is unpacked that `pack` does not write."""

import io
import shutil
import tarfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from analysis.submission.archive import unpacked
from analysis.submission.cells import check_cells
from prosebench.store.storage import DamagedFile
from tests.analysis.submission.fuzzing import fuzzed

TYPES = [
    tarfile.REGTYPE,
    tarfile.REGTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
    b"Z",
]
names = st.one_of(
    st.sampled_from(
        [
            "run/cells/one/cell.json",
            "run/cells/one/record.json",
            "run/cells/one/ensemble.npz",
            "other/cells/one/cell.json",
            "run/cells/../cell.json",
            "/run/cells/one/cell.json",
            "run//one/cell.json",
            "./cells/one/cell.json",
            "run/cells/one\n/cell.json",
            "run/cells/" + "x" * 300 + "/cell.json",
            "run/cells/one/cell.json/x",
        ]
    ),
    st.text(max_size=20),
)


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """Archives of a few odd members, some cut, some with bytes that were changed."""
    buffer = io.BytesIO()
    form = draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
    with tarfile.open(fileobj=buffer, mode="w", format=form, errors="surrogateescape") as archive:
        for _ in range(draw(st.integers(0, 3))):
            member = tarfile.TarInfo(draw(names))
            member.type, member.linkname = draw(st.sampled_from(TYPES)), "../../outside"
            content = draw(st.binary(max_size=30))
            member.size = len(content) if member.type == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(content))
    made = bytearray(buffer.getvalue())
    for place in draw(st.lists(st.integers(0, 1023), max_size=3)):
        made[place % len(made)] = draw(st.integers(0, 255))
    return bytes(made[: draw(st.sampled_from([len(made), len(made), 512, 700]))])


@fuzzed(200)
@given(content=archives())
def test_archives(content: bytes, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    (home / "some.tar").write_bytes(content)
    try:
        with unpacked(home / "some.tar") as inside:
            cells = list((inside / "cells").iterdir())
            reasons = check_cells(inside).reasons
            assert all(len(reason.splitlines()) == 1 for reason in reasons)
            assert len(cells) >= 1
    except DamagedFile as error:
        said = str(error)
        assert said.isprintable()
        assert "some.tar" in said
    assert [path.name for path in home.iterdir()] == ["some.tar"]
    assert not (tmp_path / "outside").exists()
