import pytest

from smallvit.utils.versions import release


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("2.14.1+cpu", (2, 14, 1)), ("1.0.27.dev0", (1, 0, 27)), ("3", (3,)), ("2.5.0a0", (2, 5, 0))],
)
def test_numbers_of_a_version(version, numbers):
    assert release(version) == numbers
    assert release("2.9") < release("2.10.0")
