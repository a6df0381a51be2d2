"""What is no peptide here is refused at once, with what may have been meant."""

import re

import pytest

from prosebench.peptide.residues import ONE_LETTER
from prosebench.peptide.sequence import MAX_RESIDUES, PeptideError, check_sequence


@pytest.mark.parametrize("sequence", ["GG", "ARIP", "".join(ONE_LETTER.values()), "A" * MAX_RESIDUES])
def test_two_to_fifty_letters_are_a_peptide(sequence: str) -> None:
    check_sequence(sequence)


@pytest.mark.parametrize(
    ("sequence", "said"),
    [
        ("", "peptide '' has 0 residues; give 2 to 50"),
        ("A", "peptide 'A' has 1 residue; give 2 to 50"),
        ("A" * 51, "has 51 residues; give 2 to 50"),
        ("ABA", "no amino acid is 'B'; use ACDEFGHIKLMNPQRSTVWY"),
        ("AXBX", "no amino acid is 'B', 'X'"),
        ("A A", "no amino acid is ' '"),
        ("AA\n", r"no amino acid is '\n'"),
    ],
)
def test_the_fault_is_named(sequence: str, said: str) -> None:
    with pytest.raises(PeptideError, match=re.escape(said)):
        check_sequence(sequence)


@pytest.mark.parametrize(
    ("sequence", "hint"),
    [
        ("ACE-AA-NME", "Caps cannot be sampled here"),
        ("AA-nh2", "Caps cannot be sampled here"),
        ("A(Me)A", "Modified residues cannot be sampled here"),
        ("N-MeAA", "Modified residues cannot be sampled here"),
        ("A[pS]A", "Modified residues cannot be sampled here"),
        ("AaA", "Small letters often mean D residues"),
    ],
)
def test_what_was_meant_is_guessed(sequence: str, hint: str) -> None:
    with pytest.raises(PeptideError, match=hint):
        check_sequence(sequence)


def test_letters_that_mean_nothing_get_no_guess() -> None:
    with pytest.raises(PeptideError) as refused:
        check_sequence("AZA")
    assert str(refused.value).endswith("use ACDEFGHIKLMNPQRSTVWY")
