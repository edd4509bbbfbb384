"""Figures of a backtest: noise, runner-up, months won; its check and its chart."""

import json
import statistics
import struct
from typing import Any

import pytest

from ml_assets.backtesting.records import (
    MAX_REQUIRED_LEAD,
    BacktestEntry,
    BacktestRecord,
    EntryKind,
    beats_baselines_in_most_months,
)
from ml_assets.reporting import chart_style, monthly_charts
from ml_assets.reporting.monthly_charts import backtest_lines, backtest_table
from ml_assets.trips.month import Month
from ml_assets.trips.quality.finding import Verdict

FIRST = Month(2023, 4)
KINDS: dict[str, EntryKind] = {
    "champion": "champion",
    "global_mean": "baseline",
    "distance_line": "baseline",
}


def record(lines, champion="xgboost", months=None, **fields):
    """A backtest with these RMSEs by model; a month's mean has an RMSE of 10 minutes."""
    count = max(len(values) for values in lines.values())
    tested = months or [FIRST.shift(at) for at in range(count)]
    entries = [
        BacktestEntry(
            month=str(month), model=model, kind=KINDS.get(model, "family"), rmse=values[at],
            mae=1, relative_error=values[at] / 10, trips=100, mean_predicted=9, mean_actual=9,
            trained_on=[], training_rows=100, parameters="tuned", parameters_saw_month=False,
            inputs=f"{model}{month}",
        )
        for at, month in enumerate(tested)
        for model, values in lines.items()
        if at < len(values)
    ]  # fmt: skip
    return BacktestRecord(
        dataset="green", synthetic=fields.pop("synthetic", False), train_months=3, max_rows=1000,
        champion=champion, entries=entries, **fields,
    )  # fmt: skip


CHAMPION = [4.0, 4.4, 4.1, 4.5, 4.2]
LINES = {
    "champion": CHAMPION,
    "xgboost": [4.1, 4.5, 4.2, 4.6, 4.3],
    "lasso": [5.0, 5.5, 5.0, 5.2, 5.1],
    "linear_svr": [4.8, 4.9, 5.0, 4.7, 4.9],
    "global_mean": [10.0] * 5,
    "distance_line": [7.0, 7.1, 4.0, 7.0, 7.0],
}


def test_a_record_of_version_0_1_is_read():
    stored = record(LINES).model_dump()
    stored["most_rows"] = stored.pop("max_rows")
    assert BacktestRecord.model_validate_json(json.dumps(stored)) == record(LINES)


def test_noise_is_the_deviation_of_the_champion_s_changes_and_relative_errors():
    made = record(LINES)
    changes = [0.4, -0.3, 0.4, -0.3]
    assert made.rmse_noise == pytest.approx(statistics.stdev(changes))
    relative = [value / 10 for value in CHAMPION]
    assert made.relative_error_noise == pytest.approx(statistics.stdev(relative))
    assert made.mean_relative_error == pytest.approx(statistics.fmean(relative))


def test_changes_are_between_consecutive_months():
    months = [FIRST, FIRST.shift(1), FIRST.shift(2), FIRST.shift(9), FIRST.shift(10)]
    made = record(LINES, months=months)
    assert made.rmse_noise == pytest.approx(statistics.stdev([0.4, -0.3, -0.3]))


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_months_give_no_noise(count):
    made = record({model: values[:count] for model, values in LINES.items()})
    assert made.rmse_noise is made.relative_error_noise is made.mean_relative_error is None
    assert made.suggested_min_improvement is None
    assert "±" not in made.summary
    assert record(LINES).relative_error_noise is not None


def test_without_a_champion_there_is_no_noise_and_the_summary_says_so():
    made = record({k: v for k, v in LINES.items() if k != "champion"}, champion=None)
    assert made.relative_error_noise is made.rmse_noise is made.suggested_min_improvement is None
    assert "there is no champion" in made.summary
    assert made.months_won == (4, 5)


def test_the_lead_over_the_best_other_family_suggests_the_min_improvement():
    made = record(LINES)
    assert made.runner_up == "linear_svr"
    steady = {**LINES, "linear_svr": [4.80, 5.25, 4.90, 5.35, 4.98]}
    lead = [b - a for a, b in zip(CHAMPION, steady["linear_svr"], strict=True)]
    suggested = record(steady).suggested_min_improvement
    assert suggested == pytest.approx(statistics.stdev(lead))
    assert suggested < 0.05


def test_a_runner_up_of_another_kind_does_not_block_every_challenger():
    lead = [b - a for a, b in zip(CHAMPION, LINES["linear_svr"], strict=True)]
    assert statistics.stdev(lead) > 0.2
    suggested = record(LINES).suggested_min_improvement
    assert suggested == pytest.approx(MAX_REQUIRED_LEAD * statistics.fmean(CHAMPION))


@pytest.mark.parametrize(
    ("line", "verdict", "won"),
    [
        ([7.0, 7.2, 3.0, 6.0, 6.0], Verdict.PASS, 3),
        ([7.0, 7.1, 4.0, 6.0, 6.0], Verdict.WARN, 2),
        ([8.0] * 5, Verdict.WARN, 0),
    ],
)
def test_the_check_needs_the_champion_below_every_baseline_in_most_months(line, verdict, won):
    found = beats_baselines_in_most_months(record({**LINES, "champion": line}))
    assert found.verdict == verdict
    assert f"{won} of 5 months" in found.sentence
    assert found.value == won / 5


def test_the_summary_has_the_champion_s_error_in_both_modes():
    made = record(LINES)
    assert made.mean_rmse is None and "without a distance" not in made.summary
    entries = [entry.model_copy(update={"rmse_usual": entry.rmse + 1}) for entry in made.entries]
    both = made.model_copy(update={"entries": entries})
    assert both.mean_rmse == pytest.approx((4.24, 5.24))
    assert "4.24 min with the metered distance and 5.24 without a distance" in both.summary
    assert backtest_table(both)[0]["champion_rmse_usual"] == 5.0
    assert backtest_table(made)[0]["champion_rmse_usual"] == ""
    half = made.model_copy(update={"entries": [*made.entries[:-5], *entries[-5:]]})
    assert half.mean_rmse is None, "a mean over other months"


def test_noise_and_leads_weigh_both_modes_where_every_entry_has_both():
    made = record(LINES)
    entries = [entry.model_copy(update={"rmse_usual": 2 * entry.rmse}) for entry in made.entries]
    both = made.model_copy(update={"entries": entries})
    assert (made.share, both.share, both.weighted(1).share) == (1, 0.5, 1)
    factor = (0.5 * 1 + 0.5 * 4) ** 0.5
    for name in ("rmse_noise", "relative_error_noise", "suggested_min_improvement"):
        assert getattr(both, name) == pytest.approx(factor * getattr(made, name))
        assert getattr(both.weighted(0), name) == pytest.approx(2 * getattr(made, name))
    assert (
        "If 50% of requests state their distance, the champion's relative error is" in both.summary
    )
    assert ". The champion's relative error is" in made.summary
    # Without a distance, another family is the runner-up, and a baseline wins a month.
    swapped = [
        entry.model_copy(update={"rmse_usual": 3.0 if entry.model == "lasso" else entry.rmse})
        for entry in made.entries
    ]
    other = made.model_copy(update={"entries": swapped})
    assert (other.weighted(1).runner_up, other.weighted(0).runner_up) == ("linear_svr", "lasso")


def test_the_check_is_skipped_without_a_champion():
    made = record({k: v for k, v in LINES.items() if k != "champion"}, champion=None)
    assert beats_baselines_in_most_months(made).verdict == Verdict.SKIP


def test_the_table_has_a_row_per_month_and_empty_cells_without_a_test():
    rows = backtest_table(record({**LINES, "lasso": [5.0, 5.5]}))
    assert [row["month"] for row in rows] == [str(FIRST.shift(at)) for at in range(5)]
    assert (rows[0]["lasso"], rows[4]["lasso"], rows[4]["champion"]) == (5.0, "", 4.2)
    assert rows[0]["champion_relative_error"] == 0.4


def drawn_figures(monkeypatch) -> list[Any]:
    """The figures that are drawn from here on."""
    drawn: list[Any] = []
    encode = chart_style.to_png

    def to_png(figure: Any) -> bytes:
        drawn.append(figure)
        return encode(figure)

    monkeypatch.setattr(monthly_charts, "to_png", to_png)
    return drawn


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("synthetic", [False, True])
@pytest.mark.parametrize(
    "lines", [LINES, {"champion": [4.0], "lasso": [5.0]}, {"lasso": [5.0, 4.0]}],
    ids=["whole", "one month", "no champion"],
)  # fmt: skip
def test_the_chart_is_a_small_png_that_names_its_months(lines, synthetic, monkeypatch):
    drawn = drawn_figures(monkeypatch)
    champion = "xgboost" if "champion" in lines else None
    image = backtest_lines(record(lines, champion=champion, synthetic=synthetic))
    assert struct.unpack(">II", image[16:24])[0] == 800
    assert len(image) < 60_000
    assert "2023-04" in drawn[0].get_suptitle()
    assert drawn[0].get_suptitle().endswith("synthetic sample") is synthetic


def test_the_chart_has_a_champion_band_grey_baselines_and_gaps(
    monkeypatch,
):
    drawn = drawn_figures(monkeypatch)
    months = [FIRST, FIRST.shift(1), FIRST.shift(2), FIRST.shift(4), FIRST.shift(5)]
    made = record(LINES, months=months)
    backtest_lines(made)
    relative, minutes = drawn[0].axes
    (band,) = relative.patches
    assert made.mean_relative_error is not None and made.relative_error_noise is not None
    assert band.get_y() == pytest.approx(made.mean_relative_error - made.relative_error_noise)
    assert band.get_height() == pytest.approx(2 * made.relative_error_noise)
    lines = {line.get_label(): line for line in minutes.lines}
    assert (
        lines["global_mean"].get_color() == lines["distance_line"].get_color() == chart_style.GREY
    )
    champion = lines["champion (xgboost)"]
    assert champion.get_color() == chart_style.HIGHLIGHT
    values = list(champion.get_ydata())
    assert len(values) == 6 and values[3] != values[3], "a month without a test is a gap"
    assert values[4] == 4.5
