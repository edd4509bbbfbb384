"""The chart of what prediction intervals hold, by slice of the judged month."""

from collections.abc import Sequence

from ml_assets.modeling.canvas import BLUE, HIGHLIGHT, INK, canvas, legend, png
from ml_assets.modeling.coverage import overall_and_slices
from ml_assets.modeling.records import IntervalRecord
from ml_assets.trips.month import Month


def interval_picture(
    measured: IntervalRecord,
    months: Sequence[Month],
    *,
    model: str,
    synthetic: bool = False,
    caveat: str | None = None,
) -> bytes:
    """Share of trips that the intervals hold, overall and by slice, against what they promise.

    Args:
        measured: On the judged month.
        months: the judging months.
        model: the model's name, for the title.
        synthetic: whether the trips are the embedded sample's, which the subtitle then says.
        caveat: what the figures have to be shown with, if anything.
    """
    parts = overall_and_slices(measured)[::-1]
    title = f"{model}: trips within the {measured.nominal:.0%} interval"
    figure, (axes,) = canvas(title, months, synthetic, lines=len(parts), caveat=caveat)
    shares = [100 * part.coverage for part in parts]
    bars = axes.barh([part.slice for part in parts], shares, color=BLUE)
    labels = [f"{part.coverage:.1%}, {part.mean_width:.1f} min wide" for part in parts]
    axes.bar_label(bars, labels, label_type="center", color="white", fontsize=8)
    axes.axvline(100 * measured.nominal, color=HIGHLIGHT, linewidth=1.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("trips held, percent", color=INK)
    legend(figure, {"held": BLUE, f"promised: {measured.nominal:.0%}": HIGHLIGHT})
    return png(figure)
