"""Near keys and the errors that name them."""

from __future__ import annotations

from viewmill.pipelines.sources.keys import NoSuchKey, ambiguous, nearest_keys, not_found


def test_nearest_are_those_with_the_longest_common_beginning_then_of_like_length() -> None:
    keys = ["n01/0001", "n01/0019", "n01/00123", "n02/0012", "x"]
    assert nearest_keys("n01/0012", keys) == ["n01/00123", "n01/0019", "n01/0001"]
    assert nearest_keys("q", ["long-key", "k"], 1) == ["k"]


def test_errors_print_as_one_plain_line() -> None:
    assert str(not_found("a", ["b", "c"])) == "no sample has the key 'a'; near it: b, c"
    assert str(ambiguous("a",
                         ["1", "2", "3", "4"])) == "4 samples have the key 'a': write which, as in one of: 1; 2; 3 and 1 more"
    assert isinstance(not_found("a", []), KeyError) and isinstance(NoSuchKey("a"), KeyError)
