"""What puzzles are made of: sets of permutations."""

from .permutations import hamming, permutation_set

__all__ = ["hamming", "permutation_set"]
