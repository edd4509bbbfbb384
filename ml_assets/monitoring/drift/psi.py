"""The population stability index of binned counts."""

import numpy as np

from ml_assets.monitoring.drift.histograms import Counts

_PSEUDO_COUNT = 0.5


def population_stability_index(reference: Counts, month: Counts) -> float:
    r"""Compute the population stability index, less its expectation under no drift.

    .. math:: \sum_i (q_i - p_i) \ln(q_i / p_i) - (B - 1) (1 / N + 1 / M)

    for shares p of N reference trips and q of M trips in B bins: the index of Siddiqi (2006),
    *Credit Risk Scorecards*, Wiley, chapter 8, less its expectation under equal distributions
    (Yurdakul 2018, *Statistical Properties of Population Stability Index*, Western Michigan
    University: approximately χ² with B - 1 degrees of freedom times (1/N + 1/M)). Half a trip is
    added to every bin (Jeffreys prior), since an empty bin would make the index infinite; with few
    trips this shrinks the shares together and biases the index towards 0.

    Args:
        reference: Trips per bin, shape (B,).
        month: Trips per bin, shape (B,).

    Returns:
        The index, 0 where it does not exceed its expectation. By convention, below 0.1 is no
        significant shift and above 0.25 a major one.
    """
    trips, others = int(reference.sum()), int(month.sum())
    used = reference + month > 0
    bins = int(np.count_nonzero(used))
    if bins < 2 or not trips or not others:
        return 0.0
    p = (reference[used] + _PSEUDO_COUNT) / (trips + _PSEUDO_COUNT * bins)
    q = (month[used] + _PSEUDO_COUNT) / (others + _PSEUDO_COUNT * bins)
    moved = float(np.sum((q - p) * np.log(q / p)))
    return max(moved - (bins - 1) * (1 / trips + 1 / others), 0.0)
