"""Charts for metadata: PNG files of equal width, small enough to embed, with complete titles."""

import base64
import re
import struct
from typing import Any, Literal

import numpy as np
import pytest

from ml_assets.defs import metadata
from ml_assets.evaluation.records import MetricsRecord, ModelRecord, UsualRecord
from ml_assets.reporting import chart_style, charts
from ml_assets.trips.month import Month

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JANUARY, MARCH = Month(2023, 1), Month(2023, 3)
GENERATOR = np.random.default_rng(7)
ACTUAL = GENERATOR.gamma(2.5, 6, 60_000).clip(1, 60)
PREDICTED = (ACTUAL + GENERATOR.normal(0, 6, 60_000)).clip(-5, 90)
HOURS = GENERATOR.integers(0, 24, 60_000)
PICKUPS = np.datetime64("2022-12-31T00:00:00", "us") + GENERATOR.integers(
    0, 33 * 86_400, 60_000
).astype("timedelta64[s]")


def line(model: str, kind: Literal["model", "baseline"], rmse: float) -> ModelRecord:
    figures = MetricsRecord(
        rmse=rmse, mae=1.0, mape=0.1, r2=0.5, share_within_5_minutes=0.5, rows=10
    )
    return ModelRecord(
        model=model,
        kind=kind,
        training_set="0" * 16,
        training_months=["2023-01"],
        parameters={},
        trials=0,
        validation=figures,
        test=figures,
        slices=[],
        fit_seconds=1.0,
        tuning_seconds=0.0,
        predict_seconds=1.0,
        size_bytes=1,
    )


LINES = [
    *(line(f"a_rather_long_family_name_{n}", "model", 4 + n / 5) for n in range(7)),
    *(line(f"baseline_{n}", "baseline", 7.0 + n) for n in range(3)),
]

DRAWN = {
    "leaderboard": lambda synthetic: charts.leaderboard_bars(
        LINES, [MARCH], best="a_rather_long_family_name_0", synthetic=synthetic
    ),
    "leaderboard-in-both-modes": lambda synthetic: charts.leaderboard_bars(
        [
            row.model_copy(update={"usual": UsualRecord(test=LINES[-1].test, slices=[])})
            for row in LINES
        ],
        [MARCH],
        best="a_rather_long_family_name_0",
        synthetic=synthetic,
    ),
    "leaderboard-of-nothing": lambda synthetic: charts.leaderboard_bars(
        [], [MARCH], synthetic=synthetic
    ),
    "predicted-versus-actual": lambda synthetic: charts.predicted_versus_actual(
        ACTUAL, PREDICTED, [MARCH], model="xgboost", synthetic=synthetic
    ),
    "error-by-hour": lambda synthetic: charts.error_by_hour(
        HOURS, ACTUAL, PREDICTED, [MARCH], model="xgboost", synthetic=synthetic
    ),
    "error-in-one-hour": lambda synthetic: charts.error_by_hour(
        [5], [10.0], [12.0], [MARCH], model="xgboost", synthetic=synthetic
    ),
    "importance": lambda synthetic: charts.feature_importance(
        {f"feature_with_a_long_name_{n}": float(n - 5) for n in range(60)},
        [JANUARY, MARCH],
        model="xgboost",
        synthetic=synthetic,
    ),
    "importance-of-nothing": lambda synthetic: charts.feature_importance(
        {}, [JANUARY], model="xgboost", synthetic=synthetic
    ),
    "tuning": lambda synthetic: charts.tuning_history(
        [5.0, None, 4.5, 4.8, None, 4.4], [MARCH], model="xgboost", synthetic=synthetic
    ),
    "tuning-all-failed": lambda synthetic: charts.tuning_history(
        [None, None], [MARCH], model="xgboost", synthetic=synthetic
    ),
    "tuning-not-at-all": lambda synthetic: charts.tuning_history(
        [], [MARCH], model="xgboost", synthetic=synthetic
    ),
    "rejected": lambda synthetic: charts.rejected_by_reason(
        {"under_one_minute": 1500, "over_one_hour": 700, "zone_outside_map": 0},
        68_211,
        [JANUARY],
        synthetic=synthetic,
    ),
    "nothing-rejected": lambda synthetic: charts.rejected_by_reason(
        {"under_one_minute": 0}, 0, [JANUARY], synthetic=synthetic
    ),
    "trips-of-month": lambda synthetic: charts.trips_of_month(
        PICKUPS, JANUARY, synthetic=synthetic
    ),
    "month-without-trips": lambda synthetic: charts.trips_of_month(
        PICKUPS[:0], JANUARY, synthetic=synthetic
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", DRAWN)
def test_a_chart_is_a_small_png_800_pixels_wide(name):
    image = DRAWN[name](False)
    assert image.startswith(PNG_MAGIC)
    width, height = struct.unpack(">II", image[16:24])
    assert width == 800
    assert 200 <= height <= 900
    assert len(image) < 60_000


@pytest.mark.parametrize("name", DRAWN)
def test_a_title_names_the_months_and_the_synthetic_sample(name, monkeypatch):
    titles = []
    encode = chart_style.to_png

    def note_title(figure):
        titles.append(figure.get_suptitle())
        return encode(figure)

    monkeypatch.setattr(charts, "to_png", note_title)
    real, synthetic = DRAWN[name](False), DRAWN[name](True)
    assert real != synthetic
    assert all(re.search(r"2023-0[13]", title) for title in titles)
    assert "synthetic" not in titles[0]
    assert titles[1].endswith("\nsynthetic sample")


@pytest.mark.parametrize(
    "name",
    ["leaderboard-in-both-modes", "predicted-versus-actual", "importance", "trips-of-month"],
)
def test_no_label_is_cut_or_lies_on_the_title_the_legend_or_other_axes(name, monkeypatch):
    figures = drawn_figures(monkeypatch)
    DRAWN[name](True)
    (figure,) = figures
    chart_style.to_png(figure)
    renderer = figure.canvas.get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    boxes += [legend.get_window_extent(renderer) for legend in figure.legends]
    boxes.append(figure._suptitle.get_window_extent(renderer))
    width, height = figure.canvas.get_width_height()
    for at, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height
        assert not any(box.overlaps(other) for other in boxes[at + 1 :])


def drawn_figures(monkeypatch) -> list[Any]:
    """The figures that are drawn from here on; none is encoded."""
    figures: list[Any] = []

    def to_png(figure: Any) -> bytes:
        figures.append(figure)
        return b""

    monkeypatch.setattr(charts, "to_png", to_png)
    return figures


def test_the_best_model_is_highlighted_and_baselines_are_grey(monkeypatch):
    figures = drawn_figures(monkeypatch)
    charts.leaderboard_bars(LINES, [MARCH], best="a_rather_long_family_name_0")
    (axes,) = figures[0].axes
    from matplotlib.colors import to_hex

    names = [label.get_text() for label in axes.get_yticklabels()]
    colours = [to_hex(bar.get_facecolor()) for bar in axes.patches]
    assert names[-1] == "a_rather_long_family_name_0", "the best is on top"
    assert colours == [chart_style.GREY] * 3 + [chart_style.BLUE] * 6 + [chart_style.HIGHLIGHT]


def test_a_row_has_a_bar_for_each_mode_in_the_order_of_both(monkeypatch):
    figures = drawn_figures(monkeypatch)
    usual = {row.model: 20.0 - number for number, row in enumerate(LINES)}  # the other order
    rows = [
        row.model_copy(
            update={
                "usual": UsualRecord(
                    test=row.test.model_copy(update={"rmse": usual[row.model]}), slices=[]
                )
            }
        )
        for row in LINES
    ]
    charts.leaderboard_bars(rows, [MARCH])
    (axes,) = figures[0].axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[-1] == "baseline_2", "6 + 11 ranks before 4 + 20"
    stated, below = axes.patches[: len(rows)], axes.patches[len(rows) :]
    assert [bar.get_width() for bar in below] == [usual[name] for name in names]
    for upper, lower in zip(stated, below, strict=True):
        assert lower.get_y() + lower.get_height() == pytest.approx(upper.get_y())
    assert "lower bar without a distance" in axes.get_xlabel()


def test_trips_outside_the_month_are_not_drawn(monkeypatch):
    figures = drawn_figures(monkeypatch)
    pickups = ["2022-12-31T23:59:59", "2023-01-01T00:00", "2023-01-31T23:59:59", "2023-02-01T00:00"]
    charts.trips_of_month(np.array(pickups, dtype="datetime64[us]"), JANUARY)
    by_day, by_hour = figures[0].axes
    heights = [bar.get_height() for bar in by_day.patches]
    assert heights == [1, *[0] * 29, 1]
    assert [bar.get_height() for bar in by_hour.patches][0::23] == [1, 1]


def test_a_markdown_image_embeds_the_png():
    image = DRAWN["tuning"](False)
    value = metadata.image(image, "tuning of [xgboost]\n12 trials").value
    match = re.fullmatch(
        r"!\[([^\[\]\n]*)\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", str(value)
    )
    assert match is not None
    assert match[1] == "tuning of (xgboost) 12 trials"
    assert base64.b64decode(match[2]) == image


def test_charts_show_the_caveat(monkeypatch):
    figures = drawn_figures(monkeypatch)
    caveat = "Only two months were available."
    minutes, hours = np.array([5.0, 20.0]), np.array([3, 4])
    charts.leaderboard_bars(LINES, [MARCH], caveat=caveat)
    charts.predicted_versus_actual(minutes, minutes, [MARCH], model="lasso", caveat=caveat)
    charts.error_by_hour(hours, minutes, minutes, [MARCH], model="lasso", caveat=caveat)
    assert all(figure.get_suptitle().endswith(caveat) for figure in figures)
    assert len(figures) == 3
