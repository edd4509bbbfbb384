"""What the charts share: one size, one palette, a title that names the months, PNG bytes.

Drawn on ``matplotlib.figure.Figure`` directly: no pyplot, so no global state and nothing to
close, which matters in a long-lived process. matplotlib is imported when something is drawn.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from textwrap import fill

from matplotlib.axes import Axes
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
    """An empty chart, 800 pixels wide.

    Args:
        title: what is drawn; the months are added to it.
        months: the months of the data.
        synthetic: adds the subtitle "synthetic sample".
        height: inches.
        lines: for horizontal bars, their number, which then sets the height.
        panels: axes, one above the other.
        caveat: what the figures have to be shown with; stands under the title.
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
    """A legend under the chart, where it covers nothing.

    Args:
        figure: the chart.
        colour_of: what each colour of bars means; by default what was drawn with a label.
    """
    if colour_of is None:
        figure.legend(loc="outside lower center", ncols=4, frameon=False)
        return
    handles = [Patch(color=colour, label=name) for name, colour in colour_of.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file."""
    full, small = BytesIO(), BytesIO()
    figure.savefig(full, format="png", pil_kwargs={"compress_level": 1})
    # The bytes are stored in every event's metadata: a palette is a third of true colour.
    palette = Image.open(full).convert("RGB").quantize(PALETTE_SIZE)
    palette.save(small, format="PNG", optimize=True)
    return small.getvalue()
