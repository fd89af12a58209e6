"""Noise-contrastive estimation and the softmax over a memory, by the papers' formulas, in float64 and NumPy."""

from __future__ import annotations

import math

import numpy as np


def unit(x: np.ndarray) -> np.ndarray:
    """(N, D), each row of length 1."""
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def estimated(z: np.ndarray, memory: np.ndarray, drawn: np.ndarray, temperature: float,
              normalizer: float | None = None) -> tuple[float, float]:
    """(loss, Z): z (B, D) against rows drawn (B, 1 + m) of memory (N, D), own rows first.

    h = P / (P + m / N), P = exp(s / tau) / Z; -log h of the own row and -log(1 - h) of the others, summed, their mean over the
    batch. Z: N times the mean of all exponentials.
    """
    exponentials = np.array([[math.exp(float(z[i] @ memory[j]) / temperature) for j in row] for i, row in enumerate(drawn)])
    normalizer = normalizer or len(memory) * float(exponentials.mean())
    h = exponentials / normalizer
    h = h / (h + (drawn.shape[1] - 1) / len(memory))
    return float(-(np.log(h[:, 0]) + np.log(1 - h[:, 1:]).sum(1)).mean()), normalizer


def classified(z: np.ndarray, memory: np.ndarray, index: np.ndarray, temperature: float) -> float:
    """z (B, D) by the softmax over all rows of memory (N, D): the mean of -log of the share of row index[i]."""
    logits = z @ memory.T / temperature
    return float(np.mean([np.log(np.exp(row).sum()) - row[own] for row, own in zip(logits, index, strict=True)]))
