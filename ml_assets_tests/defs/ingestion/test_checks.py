"""Checks of ingested months in real runs: failures, warnings, and what training rejects."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pyarrow.parquet as pq
import pytest

from ml_assets.storage.month_profiles import MonthProfiles
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month
from ml_assets.trips.quality.month_rejection import RULES
from ml_assets_tests.planted import FAULTS, publish, sample_month
from ml_assets_tests.project import Project, open_project, settings_for

GOOD = ("2023-01", "2023-02", "2023-03", "2023-04")
BAD = "2023-05"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A source with four good months."""
    folder = tmp_path / "published"
    folder.mkdir()
    for month in GOOD:
        publish(folder, month, sample_month(month))
    return folder


@pytest.fixture
def project(tmp_path: Path, published: Path) -> Iterator[Project]:
    with open_project(settings_for(tmp_path / "home", published)) as opened:
        yield opened


def results(run: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {found.check_name: found for found in run.get_asset_check_evaluations()}


def months_shown(found: dg.AssetCheckEvaluation) -> Sequence[dg.TableRecord]:
    """The table of months in a check's metadata."""
    table = found.metadata["months"]
    assert isinstance(table, dg.TableMetadataValue)
    return table.records


def not_passed(run: dg.ExecuteInProcessResult) -> dict[str, str]:
    return {name: found.severity.value for name, found in results(run).items() if not found.passed}


def check_alone(project: Project, names: Sequence[str] = ("trip_features",)) -> dict[str, str]:
    """Run the checks of these assets without materializing anything, as in the UI."""
    selection = dg.AssetSelection.checks_for_assets(*(dg.AssetKey(name) for name in names))
    job = dg.define_asset_job("checks_alone", selection=selection)
    definitions = dg.Definitions.merge(project.definitions, dg.Definitions(jobs=[job]))
    return not_passed(
        definitions.resolve_job_def("checks_alone").execute_in_process(
            instance=project.instance, raise_on_error=False
        )
    )


def test_good_months_pass_every_check_in_one_step(project):
    run = project.ingest("2023-01", "2023-04")
    assert run.success
    found = results(run)
    assert set(found) == {rule.name for rule in RULES}
    assert not_passed(run) == {}
    steps = [event.step_key for event in run.all_events if event.is_step_success]
    assets = ["data_profile", "raw_trips", "rejected_trips", "trip_features"]
    assert sorted(steps) == sorted(["ingestion_checks", *assets])
    counted = found["row_count"]
    assert counted.metadata["checked_months"].value == 4
    assert counted.metadata["newest_month"].value == "2023-04"
    assert counted.metadata["lower"].value < counted.metadata["value"].value
    assert "2023-04" in counted.description
    months = [record.data["month"] for record in months_shown(counted)]
    assert months == list(GOOD)


def test_a_bad_month_fails_the_run_and_names_the_way_out(project, published):
    assert project.ingest("2023-01", "2023-04").success
    publish(published, BAD, FAULTS["40 % of the rows repeated"](sample_month(BAD)))
    run = project.ingest(BAD, BAD)
    assert not run.success
    assert not_passed(run) == {"duplicate_rate": "ERROR"}
    description = results(run)["duplicate_rate"].description
    assert description.startswith("2023-05: 4")
    assert "exclude_months" in description


def test_training_rejects_the_bad_month_although_no_check_runs(project, published):
    publish(published, BAD, FAULTS["all distances 0"](sample_month(BAD)))
    project.ingest("2023-01", "2023-05")
    rejected = project.run("train_models", selection=["training_set"])
    assert not rejected.success
    message = rejected.failure_data_for_node("training_set").error.message
    assert "2023-05" in message
    assert "0 miles" in message
    without = {"training_set": {"config": {"exclude_months": [BAD]}}}
    assert project.run("train_models", without, ["training_set"]).success


def test_an_unusual_month_is_a_warning_and_nothing_fails(project, published):
    assert project.ingest("2023-01", "2023-04").success
    publish(published, BAD, FAULTS["every second row missing"](sample_month(BAD)))
    run = project.ingest(BAD, BAD)
    assert run.success
    assert not_passed(run)["row_count"] == "WARN"
    assert project.run("train_models", selection=["training_set"]).success


def with_a_fee(trips: pl.DataFrame) -> pl.DataFrame:
    return trips.with_columns(cbd_congestion_fee=pl.lit(0.75))


def test_a_change_that_persists_is_settled_by_the_months_after_it(project, published):
    for month in GOOD[2:]:
        publish(published, month, with_a_fee(sample_month(month)))
    first = project.ingest("2023-01", GOOD[2])
    assert not_passed(first) == {"published_schema": "WARN"}
    assert "cbd_congestion_fee is new" in results(first)["published_schema"].description
    whole = project.ingest("2023-01", "2023-04")
    assert not_passed(whole) == {}
    assert check_alone(project, ("raw_trips", "trip_features")) == {}
    months = months_shown(results(whole)["published_schema"])
    verdicts = {record.data["month"]: record.data["verdict"] for record in months}
    assert verdicts[GOOD[2]] == "warn (settled by later months)"
    assert verdicts[GOOD[3]] == "pass"


def test_a_month_unlike_those_before_and_after_it_stays_a_warning(project, published):
    publish(published, GOOD[2], with_a_fee(sample_month(GOOD[2])))
    run = project.ingest("2023-01", "2023-04")
    assert not_passed(run) == {"published_schema": "WARN"}
    assert GOOD[2] in results(run)["published_schema"].description


def test_a_failed_month_stays_a_warning_in_runs_of_other_months(project, published):
    publish(published, BAD, FAULTS["all durations within a minute"](sample_month(BAD)))
    assert not project.ingest("2023-01", BAD).success
    publish(published, "2023-06", sample_month("2023-06"))
    run = project.ingest("2023-06", "2023-06")
    assert run.success
    assert not_passed(run)["target_distribution"] == "WARN"
    assert "2023-05" in results(run)["target_distribution"].description
    assert check_alone(project)["target_distribution"] == "ERROR"


def test_a_month_corrected_at_its_source_passes(project, published):
    publish(published, BAD, FAULTS["one row in twenty"](sample_month(BAD)))
    assert not project.ingest("2023-01", BAD).success
    publish(published, BAD, sample_month(BAD))
    run = project.ingest(BAD, BAD)
    assert run.success
    assert not_passed(run) == {}


def test_a_copy_of_another_month_fails(project, published):
    publish(published, BAD, sample_month("2023-04"))
    run = project.ingest("2023-01", BAD)
    assert not run.success
    rejected = {name for name, severity in not_passed(run).items() if severity == "ERROR"}
    assert {"duplicate_rate", "pickups_within_month", "row_count", "rejection_rates"} <= rejected


def test_a_month_not_published_yet_is_reported_and_passes(project):
    run = project.ingest("2023-03", "2023-05")
    assert run.success
    assert not_passed(run) == {}
    assert "not published yet: 2023-05" in results(run)["row_count"].description


def test_with_nothing_published_the_checks_pass(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with open_project(settings_for(tmp_path / "home", empty)) as project:
        run = project.ingest("2023-01", "2023-02")
        assert run.success
        assert "no stored month" in results(run)["row_count"].description
        assert check_alone(project) == {}


def store_of(project: Project) -> TripStore:
    return TripStore(project.settings.home, "green", synthetic=False)


def rewrite(store: TripStore, month: str, change) -> None:
    """Change a stored month, bypassing the schema validation on writing."""
    path = store.table_path("trip_features", Month.parse(month))
    before = pq.read_table(path)
    frame = change(pl.DataFrame(before))
    pq.write_table(frame.to_arrow().replace_schema_metadata(before.schema.metadata), path)


def test_a_column_that_leaks_the_future_fails(project):
    assert project.ingest("2023-01", "2023-04").success
    rewrite(
        store_of(project), "2023-03", lambda trips: trips.with_columns(total_amount=pl.lit(9.0))
    )
    found = check_alone(project)
    assert found["no_leaky_columns"] == "ERROR"
    assert found["matches_schema"] == "ERROR"
    rejected = project.run("train_models", selection=["training_set"])
    assert "total_amount" in rejected.failure_data_for_node("training_set").error.message


@pytest.mark.parametrize(
    ("column", "value"), [("duration_minutes", 600.0), ("trip_distance", None)]
)
def test_one_value_out_of_range_or_missing_fails(project, column, value):
    assert project.ingest("2023-01", "2023-01").success
    one = pl.when(pl.int_range(pl.len()) == 7).then(pl.lit(value)).otherwise(pl.col(column))
    rewrite(store_of(project), "2023-01", lambda trips: trips.with_columns(one.alias(column)))
    assert check_alone(project)["matches_schema"] == "ERROR"


def test_lost_rows_fail_the_reconciliation(project):
    assert project.ingest("2023-01", "2023-04").success
    rewrite(store_of(project), "2023-02", lambda trips: trips.head(trips.height - 3))
    found = check_alone(project, ["rejected_trips"])
    assert found == {"row_counts_reconcile": "ERROR"}


def test_a_profile_is_computed_once_and_again_when_the_month_changes(project, monkeypatch):
    assert project.ingest("2023-01", "2023-02").success
    store = store_of(project)
    profiles, month = MonthProfiles(store), Month(2023, 2)
    first = profiles.of(month)
    reads: list[str] = []
    read = TripStore.read_table

    def counting(self: TripStore, table: str, *rest: Any) -> pl.DataFrame:
        reads.append(table)
        return read(self, table, *rest)

    monkeypatch.setattr(TripStore, "read_table", counting)
    assert profiles.of(month) == first
    assert reads == []
    rewrite(store, "2023-02", lambda trips: trips.head(500))
    assert profiles.of(month).kept == 500
    assert "trip_features" in reads


def test_a_damaged_month_says_which_and_what_to_do(project):
    assert project.ingest("2023-01", "2023-02").success
    path = Path(store_of(project).table_path("trip_features", Month(2023, 2)))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"2023-02.*cannot be read.*materialize"):
        MonthProfiles(store_of(project)).of(Month(2023, 2))


def test_a_damaged_month_fails_the_checks_by_name_and_the_others_are_checked(project):
    assert project.ingest("2023-01", "2023-04").success
    path = Path(store_of(project).table_path("trip_features", Month(2023, 2)))
    path.write_bytes(path.read_bytes()[:-100])
    selection = dg.AssetSelection.checks_for_assets(dg.AssetKey("trip_features"))
    job = dg.define_asset_job("checks_alone", selection=selection)
    definitions = dg.Definitions.merge(project.definitions, dg.Definitions(jobs=[job]))
    run = definitions.resolve_job_def("checks_alone").execute_in_process(
        instance=project.instance, raise_on_error=False
    )
    counted = results(run)["row_count"]
    assert (counted.passed, counted.severity.value) == (False, "ERROR")
    assert counted.description.startswith(f"2023-02: {path} cannot be read")
    verdicts = {record.data["month"]: record.data["verdict"] for record in months_shown(counted)}
    assert verdicts["2023-02"] == "fail"
    assert verdicts.keys() == {*GOOD}
