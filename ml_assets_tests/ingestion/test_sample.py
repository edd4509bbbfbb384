"""The embedded sample as a source."""

from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ml_assets.ingestion import sample
from ml_assets.ingestion.sample import SampleSource
from ml_assets.ingestion.source import ChangedDuringDownload
from ml_assets.trips.month import Month, months_between
from ml_assets_tests.ingestion.conftest import JANUARY


@pytest.fixture
def source() -> SampleSource:
    return SampleSource("green", rows_scale=0.05, today=lambda: date(2023, 5, 14))


def test_publishes_what_the_tlc_could_have_published(source: SampleSource) -> None:
    listed = source.published(months_between(Month(2023, 1), Month(2023, 12)))
    assert list(listed) == [Month(2023, 1), Month(2023, 2), Month(2023, 3)]
    assert source.synthetic


@pytest.mark.parametrize("taxi", ["green", "yellow"])
def test_the_bytes_are_the_same_every_time(taxi: str, tmp_path: Path) -> None:
    files = [tmp_path / "once.parquet", tmp_path / "again.parquet"]
    progress: list[tuple[int, int | None]] = []
    for file in files:
        source = SampleSource(taxi, rows_scale=0.05)
        listed = source.published([JANUARY])[JANUARY]
        source.fetch(listed, file, lambda done, total: progress.append((done, total)))
    assert files[0].read_bytes() == files[1].read_bytes()
    assert pq.ParquetFile(files[0]).metadata.num_rows > 0
    assert progress[-1] == (files[0].stat().st_size, files[0].stat().st_size)


def test_months_differ(source: SampleSource, tmp_path: Path) -> None:
    listed = source.published([JANUARY, Month(2023, 2)])
    for month, item in listed.items():
        source.fetch(item, tmp_path / f"{month}.parquet")
    one, other = sorted(tmp_path.iterdir())
    assert one.read_bytes() != other.read_bytes()


def test_another_scale_or_generator_republishes_every_month(
    source: SampleSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = source.published([JANUARY])[JANUARY]
    assert listed.version != SampleSource("green").published([JANUARY])[JANUARY].version
    monkeypatch.setattr(sample, "SAMPLE_VERSION", "next")
    assert source.published([JANUARY])[JANUARY].version != listed.version
    with pytest.raises(ChangedDuringDownload):
        source.fetch(listed, tmp_path / "month.parquet")
