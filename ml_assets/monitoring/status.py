"""What became of a measurement of the serving champion."""

from typing import Final, Literal

Status = Literal["measured", "nothing_serves", "other_dataset", "unscorable", "no_reference"]
"""What became of a measurement: months were measured, or why not. ``unscorable`` is a champion that
does not predict any more, ``no_reference`` one none of whose months is stored."""

MEASURED: Final = "measured"
