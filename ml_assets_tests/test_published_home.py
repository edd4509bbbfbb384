"""A copy of a shared home has nothing in common with the original."""

import shutil


def test_a_copy_has_its_own_months_and_champion(trained_home, tmp_path):
    first = trained_home.copy(tmp_path / "first")
    second = first.copy(tmp_path / "second")
    shutil.rmtree(first.home)
    shutil.rmtree(first.trips)
    assert second.champion() == trained_home.champion() == "1"
    with second.open() as project:
        assert project.ingest("2023-01", "2023-03").success
        for month in ("2023-01", "2023-02", "2023-03"):
            assert project.metadata("raw_trips", month)["status"] == "unchanged"
