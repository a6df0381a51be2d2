"""One failure is noted with where it was raised, and the next thing is made all the same."""

import pytest

from analysis.attempts import Attempts, Failure, reason_of


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_failures_are_noted_and_what_works_is_not():
    attempts, made = Attempts(), []
    for number in range(4):
        with attempts.of(f"figure {number}"):
            made.append(10 // (number - 1))
            if number == 2:
                raise ValueError("two\nlines")
    assert made == [-10, 10, 5]
    assert [failure.what for failure in attempts.failures] == ["figure 1", "figure 2"]
    assert attempts.failures[0].reason.startswith("ZeroDivisionError: ")
    assert attempts.failures[1] == Failure("figure 2", attempts.failures[1].reason)


def test_a_reason_is_one_line_with_the_place():
    said = reason_of(raised(ValueError("first\nsecond")))
    assert said.startswith("ValueError: first (test_attempts.py, line ")
    assert reason_of(raised(KeyError())).startswith("KeyError:  (")
    assert "\n" not in said


def test_the_place_is_the_innermost_one():
    def inner() -> None:
        raise OSError("deep")

    with pytest.raises(OSError, match="deep") as caught:
        inner()
    line = inner.__code__.co_firstlineno + 1
    assert reason_of(caught.value).endswith(f"(test_attempts.py, line {line})")


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_whoever_ends_the_program_is_not_held_up(end: type[BaseException]):
    attempts = Attempts()
    with pytest.raises(end), attempts.of("anything"):
        raise end
    assert attempts.failures == []
