"""Random123's known answers, and streams by name."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from viewmill.augment.philox import philox4x32, uniforms, words

PI = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]


def test_known_answers_of_the_reference_implementation() -> None:
    """kat_vectors of Random123, philox4x32 with 10 rounds: all zeros, all ones, digits of pi."""
    ones = np.full(4, 0xFFFFFFFF, np.uint32)
    pi = np.array(PI, np.uint32)
    key = 0xA4093822, 0x299F31D0
    assert philox4x32(np.zeros(4, np.uint32), (0, 0)).tolist() == [
        0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox4x32(ones, (0xFFFFFFFF, 0xFFFFFFFF)).tolist() == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    assert philox4x32(pi, key).tolist() == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def test_the_counter_is_index_epoch_and_name() -> None:
    """index low, index high, epoch, blake2s of "name#call"; the seed is the key. A number is a word times 2**-32."""
    from hashlib import blake2s

    index, seed, epoch = (5 << 32) + 9, (3 << 32) + 7, 11
    calls = [int.from_bytes(blake2s(f"global/0/blur#{k}".encode(), digest_size=4).digest(), "little") for k in (0, 1)]
    by_hand = [philox4x32(np.array([9, 5, epoch, c], np.uint32), (7, 3)).tolist() for c in calls]
    assert words(seed, epoch, np.array([index]), "global/0/blur", 6)[0].tolist() == (by_hand[0] + by_hand[1])[:6]
    assert words(seed, epoch, np.array([index]), "global/0/blur", 2, call=1)[0].tolist() == by_hand[1][:2]
    assert (uniforms(seed, epoch, np.array([index]), "global/0/blur", 6)[0] * 2.0**32).tolist() == (by_hand[0] + by_hand[1])[:6]


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=20), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
def test_a_sample_gets_the_same_numbers_in_any_batch(index: list[int], seed: int, epoch: int) -> None:
    whole = uniforms(seed, epoch, np.array(index), "v/0/crop", 7)
    alone = [uniforms(seed, epoch, np.array([i]), "v/0/crop", 7)[0] for i in index]
    assert np.array_equal(whole, np.array(alone))
    assert ((whole >= 0) & (whole < 1)).all()


def test_streams_are_uniform_and_uncorrelated() -> None:
    index = np.arange(20_000)
    a, b = (uniforms(1, 0, index, f"global/{k}/flip", 1)[:, 0] for k in (0, 1))
    counts = np.bincount((a * 16).astype(int), minlength=16)
    chi_square = ((counts - 1250) ** 2 / 1250).sum()
    assert chi_square < 37.7  # the 0.1 % point for 15 degrees of freedom
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.028  # four standard errors
    assert abs(np.corrcoef(a[:-1], a[1:])[0, 1]) < 0.028
