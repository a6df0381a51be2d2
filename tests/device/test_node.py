"""What `doctor --on-node` tries, here on CPUs, and its last line."""

from prosebench.check.node import ROWS, NodeFinding, _all_reduce, examine_node, product_deviation, verdict
from tests.pretended.gpu import PretendedGpu


def test_this_node_is_ready() -> None:
    findings = list(examine_node())
    line, ready = verdict(findings)
    assert ready, line
    assert line.startswith("ready for md, md-replicas")
    assert {"OpenMM Reference", "OpenMM CPU", "energies"} <= {
        one.what for one in findings if one.state == "ok"
    }


def test_what_is_broken_is_named_with_the_rows_that_need_it() -> None:
    line, ready = verdict([NodeFinding("GPU 0", "missing", "no kernel image", "networks")])
    assert not ready
    assert "ready for md" in line
    assert "not for flows, annealing from them, training: GPU 0: no kernel image" in line


def test_cells_over_ranks_that_were_not_tried_are_not_promised() -> None:
    line, ready = verdict([NodeFinding("MPI", "absent", "mpi4py is not installed", "ranks")])
    assert ready
    assert line == (
        f"ready for {ROWS['dynamics']}; {ROWS['networks']} (networks on the CPU); not tried: {ROWS['ranks']}: MPI: "
        "mpi4py is not installed"
    )
    # This very process is alone, whatever is installed.
    (mpi,) = [one for one in examine_node() if one.what == "MPI"]
    assert f"not tried: {ROWS['ranks']}: MPI: {mpi.found}" in verdict([mpi])[0]
    there = verdict([NodeFinding("MPI", "ok", "a world of 4")])
    assert there == (f"ready for {'; '.join(ROWS.values())} (networks on the CPU)", True)


def test_a_sum_over_processes() -> None:
    assert _all_reduce("gloo", 2).state == "ok"
    failed = _all_reduce("nowhere", 1)
    assert failed.state == "missing"
    assert "nowhere over 1 processes failed" in failed.found


def test_products_are_compared_with_double_precision() -> None:
    with PretendedGpu() as gpu:
        assert product_deviation("cuda:0", "float32") < 1e-3
        assert product_deviation("cuda:0", "bfloat16") < 0.2
    assert gpu.kernels["mm.default"] == 2
