"""Tables and comparisons are read from records alone: whoever imports them loads no engine."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["analysis.tables.main", "analysis.tables.text", "analysis.tables.comparisons"]
)
def test_tables_load_neither_torch_nor_openmm(module: str):
    code = f"import sys, {module}; print([name for name in ('torch', 'openmm', 'ot') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
