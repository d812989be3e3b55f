"""Arguments shared by all backbones."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallvit.backbones.base.common import resolve_indices


@pytest.mark.parametrize(
    ("given_indices", "expected"),
    [(-1, (3,)), (0, (0,)), ((2, 0), (0, 2)), ((-1, 3), (3,)), ([1, -2, -4], (0, 1, 2))],
)
def test_indices_are_ascending_and_each_once(given_indices, expected):
    assert resolve_indices(given_indices, 4) == expected


@settings(max_examples=20)
@given(st.integers(1, 6).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(-n, n - 1)))))
def test_negative_indices_count_from_the_end(case):
    count, indices = case
    if indices:
        found = resolve_indices(indices, count)
        assert set(found) == {range(count)[index] for index in indices}
        assert list(found) == sorted(found)


@pytest.mark.parametrize("wrong", [4, -5, (), (0, 7)])
def test_invalid_indices_are_rejected_with_the_valid_range(wrong):
    with pytest.raises(ValueError, match=r"from 0 to 3, .* 4 blocks"):
        resolve_indices(wrong, 4, "block")
