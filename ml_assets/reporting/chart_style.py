"""Shared parts of charts: size, palette, titles with the months, PNG encoding.

Uses ``matplotlib.figure.Figure`` without pyplot: no global state and no figures to close in a
long-lived process.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import LayoutEngine
from matplotlib.patches import Patch
from matplotlib.transforms import Bbox
from PIL import Image

from ml_assets.training.windows import span
from ml_assets.trips.month import Month

BLUE = "#4c78a8"
PALE_BLUE = "#cfe0f1"
DARK_BLUE = "#08264a"
HIGHLIGHT = "#d9662b"
GREY = "#b5b5b5"
INK = "#333333"

WIDTH_INCHES, DOTS_PER_INCH = 8.0, 100
TITLE_CHARACTERS = 80
PALETTE_SIZE = 128
LINE_INCHES = 0.32
"""Height of one horizontal bar with its label."""
PAD_INCHES = 0.1
USUAL_LABELS = (60.0, 0.0, 50.0, 0.0)
"""Pixels that labels take left, right, below and above axes, before they are measured."""


class StackedLayout(LayoutEngine):
    """Places axes one above the other, between the title and the legend, as large as fits.

    Labels are measured once. Matplotlib's constrained layout, which knows any grid of axes, does it
    twice: that was a third of the time of a chart.
    """

    _adjust_compatible = False
    _colorbar_gridspec = False

    def execute(self, fig: Any) -> None:
        """Move the axes of a figure; called each time it is drawn."""
        renderer = fig.canvas.get_renderer()
        stacked = fig.get_axes()
        pad = PAD_INCHES * fig.dpi
        title = fig._suptitle.get_window_extent(renderer).height + 2 * pad
        legends = [found.get_window_extent(renderer).height + 2 * pad for found in fig.legends]
        box = (0.0, sum(legends), fig.bbox.width, fig.bbox.height - title)
        # Axes of about the final size have the final ticks.
        self._place(fig, stacked, box, [USUAL_LABELS] * len(stacked))
        labels = []
        for axes in stacked:
            whole = axes.get_tightbbox(renderer, for_layout_only=True)
            inner = axes.get_window_extent(renderer)
            labels.append((
                inner.x0 - whole.x0, whole.x1 - inner.x1, inner.y0 - whole.y0, whole.y1 - inner.y1
            ))  # fmt: skip
        self._place(fig, stacked, box, labels)

    def _place(
        self,
        fig: Any,
        stacked: Sequence[Axes],
        box: tuple[float, float, float, float],
        labels: Sequence[tuple[float, float, float, float]],
    ) -> None:
        """Give the axes, the topmost first, equal sizes in a box, with room for their labels."""
        pad = PAD_INCHES * fig.dpi
        left = box[0] + pad + max(around[0] for around in labels)
        right = box[2] - pad - max(around[1] for around in labels)
        taken = sum(around[2] + around[3] + 2 * pad for around in labels)
        height = max(1.0, (box[3] - box[1] - taken) / len(stacked))
        top = box[3]
        for axes, (_, _, below, above) in zip(stacked, labels, strict=True):
            bottom = top - pad - above - height
            place = Bbox.from_extents(left, bottom, max(right, left + 1), bottom + height)
            axes.set_position(fig.transFigure.inverted().transform_bbox(place))
            top = bottom - below - pad


def new_figure(
    title: str,
    months: Sequence[Month],
    synthetic: bool,
    *,
    height: float = 4.5,
    lines: int | None = None,
    panels: int = 1,
    caveat: str | None = None,
) -> tuple[Figure, list[Axes]]:
    """Make an empty chart, 800 pixels wide.

    Args:
        title: Title, to which the months are added.
        months: The months of the data.
        synthetic: Whether to add the subtitle "synthetic sample".
        height: Height in inches.
        lines: Number of horizontal bars, which determines the height.
        panels: Number of axes, one above the other.
        caveat: Note under the title, if any.
    """
    inches = height if lines is None else max(2.4, 1.5 + LINE_INCHES * lines)
    figure = Figure(figsize=(WIDTH_INCHES, inches), dpi=DOTS_PER_INCH, layout=StackedLayout())
    subtitle = "\nsynthetic sample" if synthetic else ""
    if caveat is not None:
        subtitle += f"\n{fill(caveat, TITLE_CHARACTERS)}"
    headline = fill(f"{title} · {span(months)}", TITLE_CHARACTERS)
    figure.suptitle(headline + subtitle, fontsize=13, color=INK, y=1 - PAD_INCHES / inches)
    grid = figure.subplots(panels, 1, squeeze=False)
    all_axes: list[Axes] = list(grid[:, 0])
    for axes in all_axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK)
        if lines is not None:
            axes.margins(y=0.02)
    return figure, all_axes


def legend(figure: Figure, colour_of: Mapping[str, str] | None = None) -> None:
    """Add a legend below the chart.

    Args:
        figure: The chart.
        colour_of: Colour by label; by default the labels of the drawn artists.
    """
    if colour_of is None:
        figure.legend(loc="outside lower center", ncols=4, frameon=False)
        return
    handles = [Patch(color=colour, label=name) for name, colour in colour_of.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)


def to_png(figure: Figure) -> bytes:
    """Encode the figure as a PNG."""
    # Not figure.savefig: it draws twice, and most of the time of a chart is drawing.
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba())
    # Stored in the metadata of every event: a palette takes a third of true colour. An octree finds
    # it in a seventh of the time of the default, whose optimized file is no smaller.
    png = BytesIO()
    palette = drawn.convert("RGB").quantize(PALETTE_SIZE, method=Image.Quantize.FASTOCTREE)
    palette.save(png, format="PNG")
    return png.getvalue()
