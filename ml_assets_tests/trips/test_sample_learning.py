"""Models can learn from the synthetic sample for the same reasons as from real months."""

import numpy as np

from ml_assets.trips.month import Month, months_between
from ml_assets_tests.trips.test_sample import JANUARY, minutes_of, month_of


class Kept:
    """Kept trips of a month, as arrays."""

    def __init__(self, month: Month):
        table = month_of(month.year, month.number)
        minutes = minutes_of(table)
        keep = (minutes >= 1) & (minutes <= 60)
        pickup = table["lpep_pickup_datetime"].to_numpy()[keep]
        self.minutes = minutes[keep]
        self.miles = np.clip(table["trip_distance"].to_numpy()[keep], 0, 60)
        self.pickup_zone = table["PULocationID"].to_numpy()[keep].astype(np.int64)
        self.dropoff_zone = table["DOLocationID"].to_numpy()[keep].astype(np.int64)
        self.pair = self.pickup_zone * 1_000 + self.dropoff_zone
        day = pickup.astype("datetime64[D]")
        weekend = (day.astype(np.int64) + 3) % 7 >= 5
        self.hour = ((pickup - day) // np.timedelta64(1, "h")).astype(np.int64) + 24 * weekend


class PaceModel:
    """Minutes by miles, multiplied by shrunken effects of hour, zones and pair."""

    keys = ("hour", "pickup_zone", "dropoff_zone", "pair")

    def fit(self, trips: Kept) -> "PaceModel":
        log_minutes = np.log(trips.minutes)
        metered = np.unique(np.quantile(trips.miles[trips.miles < 60], np.linspace(0.05, 1, 30)))
        self.edges = np.append(metered, 59.0)
        residual, self.effects = log_minutes, {}
        for key in ("band", *self.keys):
            values = self.values(trips, key)
            count = np.bincount(values)
            shrunk = 0 if key == "band" else 15
            self.effects[key] = np.bincount(values, residual) / np.maximum(count + shrunk, 1)
            residual = residual - self.effects[key][values]
        self.smear = np.mean(trips.minutes) / np.mean(np.exp(log_minutes - residual))
        return self

    def values(self, trips: Kept, key: str) -> np.ndarray:
        return np.searchsorted(self.edges, trips.miles) if key == "band" else getattr(trips, key)

    def rmse(self, trips: Kept) -> float:
        log_minutes = np.zeros(len(trips.minutes))
        for key, effect in self.effects.items():
            values = self.values(trips, key)
            known = np.minimum(values, len(effect) - 1)
            log_minutes += np.where(values < len(effect), effect[known], 0)
        return rmse(trips.minutes, np.exp(log_minutes) * self.smear)


def rmse(truth: np.ndarray, predicted: np.ndarray | float) -> float:
    return float(np.sqrt(np.mean((truth - predicted) ** 2)))


class TestLearning:
    def test_each_thing_known_about_a_trip_helps(self):
        """The errors relative to the mean are as on real months (0.77 for the line)."""
        april, may = Kept(Month(2023, 4)), Kept(Month(2023, 5))
        mean = rmse(may.minutes, april.minutes.mean())
        line = rmse(may.minutes, np.polyval(np.polyfit(april.miles, april.minutes, 1), may.miles))
        paced = PaceModel().fit(april).rmse(may)
        assert 8.5 < mean < 11.5
        assert 0.70 < line / mean < 0.84
        assert paced / mean < 0.70
        assert paced < 0.9 * line

    def test_rush_hours_are_slow_and_week_ends_fast(self):
        trips = Kept(Month(2023, 5))
        moving = trips.miles > 0
        mph = trips.miles[moving] / trips.minutes[moving] * 60
        hour = trips.hour[moving]
        assert np.median(mph[hour == 16]) < 0.85 * np.median(mph[(hour >= 22) & (hour < 24)])
        assert np.median(mph[hour < 24]) < 0.97 * np.median(mph[hour >= 24])

    def test_most_pairs_of_a_new_month_were_seen_before(self):
        last = set(Kept(Month(2023, 4)).pair)
        unseen = np.mean([pair not in last for pair in Kept(Month(2023, 5)).pair])
        assert 0.10 < unseen < 0.18

    def test_a_model_of_last_year_is_worse_than_one_of_last_month(self):
        stale, fresh = [], []
        for month in months_between(JANUARY, Month(2023, 12)):
            tested = Kept(month)
            stale.append(PaceModel().fit(Kept(month.shift(-12))).rmse(tested))
            fresh.append(PaceModel().fit(Kept(month.shift(-1))).rmse(tested))
        assert np.mean(stale) > 1.03 * np.mean(fresh)
        assert np.mean(np.array(stale) > np.array(fresh)) > 0.8
