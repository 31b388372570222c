"""Lines stop before a size that would take too long or too much, by what smaller ones took."""

import pytest

from benchmarks.sweep.sweep_limits import Limits, expected


@pytest.mark.parametrize("power", [1, 2, 3])
def test_powers_are_followed(power: int) -> None:
    sizes = [64, 256]
    assert expected(sizes, [3.0 * n**power for n in sizes], 1024) == pytest.approx(
        3.0 * 1024**power
    )


def test_growth_is_at_least_linear() -> None:
    assert expected([64, 256], [5.0, 5.0], 512) == pytest.approx(10.0)
    assert expected([64], [5.0], 512) == pytest.approx(40.0)


def test_nothing_is_expected_of_what_was_not_measured() -> None:
    assert expected([], [], 64) == 0.0
    assert expected([64], [0.0], 128) == 0.0


def test_a_line_stops_at_the_first_quantity_that_is_too_large() -> None:
    limits = Limits({"seconds": 10.0, "bytes": 2000.0})
    assert limits.allow("dnc", 64)
    limits.record("dnc", 64, seconds=0.1, bytes=10.0)
    limits.record("dnc", 128, seconds=0.2, bytes=40.0)
    assert limits.allow("dnc", 512)
    assert not limits.allow("dnc", 1024)  # 40 * 8^2 bytes
    assert not limits.allow("dnc", 256)  # it has stopped
    assert limits.allow("ntm", 1024)
    (stopped,) = limits.stopped
    assert (stopped["line"], stopped["memory_size"]) == ("dnc", 1024)
    assert stopped["why"] == "expected 2.56e+03 bytes, at most 2e+03"


def test_notes_are_of_what_is_limited_and_ascend() -> None:
    limits = Limits({"seconds": 1.0})
    with pytest.raises(ValueError, match=r"expected \['seconds'\], got \['bytes'\]"):
        limits.record("ntm", 64, bytes=1.0)
    limits.record("ntm", 64, seconds=0.1)
    with pytest.raises(ValueError, match="expected more than 64, got 64"):
        limits.record("ntm", 64, seconds=0.1)
