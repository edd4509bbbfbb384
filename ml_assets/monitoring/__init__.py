"""Monitoring: feature drift, the champion's error on new months, and when to retrain."""

from typing import Final, Literal

Status = Literal["measured", "no_champion", "dataset_mismatch", "scoring_failed", "no_reference"]
"""Whether months were measured, or why not: ``scoring_failed`` is a champion that no longer
predicts, ``no_reference`` one without a stored month."""

MEASURED: Final = "measured"
