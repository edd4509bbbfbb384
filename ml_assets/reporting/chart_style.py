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
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
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
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(WIDTH_INCHES, inches), dpi=DOTS_PER_INCH, layout=layout)
    subtitle = "\nsynthetic sample" if synthetic else ""
    if caveat is not None:
        subtitle += f"\n{fill(caveat, TITLE_CHARACTERS)}"
    headline = fill(f"{title} · {span(months)}", TITLE_CHARACTERS)
    figure.suptitle(headline + subtitle, fontsize=13, color=INK)
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
