"""The fuzzer, shortly, of checkpoints, configurations and logs (a long one: ``checkpoints.py 20000 0``)."""

import checkpoints


def test_nothing_is_outside_the_promise():
    counts, outside = checkpoints.fuzz(120, seed=0)
    assert not outside, "\n".join(outside)
    assert counts.total() == 120 and counts["refused"] > 60 and counts["equal"] and counts["another"]


def test_a_case_is_the_same_each_time(tmp_path):
    whole = checkpoints.made(tmp_path)
    one, other = (checkpoints.Case(1, 5, whole, tmp_path / name) for name in "ab")
    assert str(one) == str(other) and one.file.read_bytes() == other.file.read_bytes() != one.data
