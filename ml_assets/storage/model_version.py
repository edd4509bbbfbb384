"""One registered model version, as plain data and as the tags that MLflow keeps of it.

The registry makes the record from MLflow; promotion, reproduction, monitoring, the backtest and
the prediction service's bundle use it. It stands below them all and imports no MLflow.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field

from ml_assets.storage.former_names import StoredRecord, with_present_names
from ml_assets.trips.month import Month

UNKNOWN_MODEL: Final = "unknown"
"""The family of a version whose tags do not name one."""

FINGERPRINT: Final = "fingerprint"
"""Tag: the predictions for ``pipeline.fingerprint`` at the registration, as JSON."""

MANUAL_OVERRIDE: Final = "manual_override"
"""Tag of a manually promoted version: the fields of ``ManualOverride`` as JSON."""

REPLACED_VERSION: Final = "replaced_version"
"""Tag: the version that was champion before this one."""

_REFIT: Final = "refit"
_INTERVAL: Final = ("interval_nominal", "interval_coverage", "interval_mean_width")


class VersionId(StoredRecord):
    """What tells a version from every other.

    Attributes:
        model: Family name.
        version: Number in the registry; empty before it is registered.
        run_id: MLflow run of the training that made it; empty when unknown.
    """

    model_config = ConfigDict(frozen=True)

    model: str = Field(default=UNKNOWN_MODEL, description="Family of the model")
    version: str = Field(description="Number in the registry")
    run_id: str = ""

    @property
    def identity(self) -> str:
        """Tells it from a version of the same number in another registry."""
        return identity(self.version, self.run_id)

    def __str__(self) -> str:
        return f"{self.model}, version {self.version}"


def identity(version: str, run_id: str) -> str:
    """A version's number with its MLflow run, which no version of another registry shares."""
    return f"{version}@{run_id}" if run_id else version


class IntervalFigures(BaseModel):
    """How the version's prediction intervals did on the test month."""

    model_config = ConfigDict(frozen=True)

    nominal: float = Field(description="Share of trips that the intervals are to hold")
    coverage: float | None = Field(
        default=None, description="Share of the test trips that they held"
    )
    mean_width: float | None = Field(default=None, description="Their mean width there, minutes")


class ManualOverride(StoredRecord):
    """A person's choice of a champion, which stands until there is data that it was not made on.

    Attributes:
        kind: ``rollback`` or ``override``.
        reason: The person's.
        test_month: The newest month that models had been evaluated on by then.
        raw_sha256: Of that month's published file.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    reason: str
    test_month: str
    raw_sha256: str

    def expired(self, tested: Iterable[tuple[str, str]]) -> bool:
        """Whether models are tested on a later month by now, or on that month republished.

        Args:
            tested: Test months, each with the SHA-256 of its published file.
        """
        return any(
            month > self.test_month or (month == self.test_month and raw_sha256 != self.raw_sha256)
            for month, raw_sha256 in tested
        )


class ModelVersion(VersionId):
    """A version of the registered model. What is not shown to clients is left out of its JSON.

    Attributes:
        dataset: Trips that it was trained on (``green``, ``sample_green``, …); empty when unknown.
        synthetic: Whether they are the synthetic sample.
        training_months: Months (``YYYY-MM``) that the fit which serves has seen, in order.
        validation_months: Months that chose its parameters and rounds.
        test_month: Month that it was tested on; empty when unknown.
        test_rmse: Of the evaluated fit on that month, minutes.
        interval: Figures of its prediction intervals; None for versions that have none.
        refit: Whether the evaluated parameters were fitted again on all months.
        description: The same in words, with the months.
        caveat: What its figures must be shown with.
        training_set: Fingerprint of its training set; empty when unknown.
        source: URI at which the fitted pipeline was logged.
        fingerprint: Predictions for ``pipeline.fingerprint`` at the registration, minutes; None
            when they were not kept.
        manual_override: The manual promotion behind it; None after a decision.
        replaced_version: The champion before it; empty without one, or if it never was champion.
    """

    run_id: str = Field(default="", exclude=True)
    dataset: str = Field(default="", description="Which trips it was trained on")
    synthetic: bool = Field(
        default=False, description="Whether these were made up by the embedded sample"
    )
    training_months: tuple[str, ...] = Field(default=(), description="Months that it was fitted on")
    validation_months: tuple[str, ...] = Field(
        default=(), description="Months that its parameters were chosen on"
    )
    test_month: str = Field(
        default="", description="Month that it was evaluated on, and not fitted or tuned on"
    )
    test_rmse: float | None = Field(
        default=None, description="Root mean squared error there, minutes"
    )
    interval: IntervalFigures | None = Field(
        default=None, description="Absent for versions without prediction intervals"
    )
    refit: bool = Field(
        default=False,
        description="Whether it was refitted on all months, the test month included; the figures "
        "are then those of the fit before",
    )
    description: str = Field(default="", description="Which fit it is, in words")
    caveat: str | None = Field(default=None, description="What limits the meaning of the figures")
    training_set: str = Field(default="", exclude=True)
    source: str = Field(default="", exclude=True)
    fingerprint: tuple[float, ...] | None = Field(default=None, exclude=True)
    manual_override: ManualOverride | None = Field(default=None, exclude=True)
    replaced_version: str = Field(default="", exclude=True)

    @property
    def newest_month(self) -> Month | None:
        """The newest month that had a say in its parameters or its fit; None when unknown."""
        if not self.validation_months:
            return None
        return max(Month.parse(month) for month in (*self.training_months, *self.validation_months))

    def has_seen(self, month: str) -> bool:
        """Whether a month was among those that it was fitted or tuned on."""
        return month in self.training_months or month in self.validation_months

    @classmethod
    def from_mlflow(cls, version: Any) -> Self:
        """Read what MLflow has of a version.

        Args:
            version: MLflow's ``ModelVersion``. A tag that is missing leaves its field as the
                default says.
        """
        tags = with_present_names(version.tags)
        fingerprint, override = tags.get(FINGERPRINT), tags.get(MANUAL_OVERRIDE)
        description = tags.get("description", "")
        # Versions registered by 0.1 have no tag `refit`: there the description's first word tells.
        refit = tags.get(_REFIT, str(description.startswith("refitted_on_all_months")).lower())
        return cls(
            model=tags.get("model", UNKNOWN_MODEL),
            version=str(version.version),
            run_id=version.run_id or "",
            dataset=tags.get("dataset", ""),
            synthetic=tags.get("synthetic") == "true",
            training_months=_months(tags.get("training_months", "")),
            validation_months=_months(tags.get("validation_months", "")),
            test_month=tags.get("test_month", ""),
            test_rmse=_number(tags.get("test_rmse")),
            interval=_interval(tags),
            refit=refit == "true",
            description=description,
            caveat=tags.get("caveat"),
            training_set=tags.get("training_set", ""),
            source=str(version.source or ""),
            fingerprint=None if fingerprint is None else json.loads(fingerprint),
            manual_override=ManualOverride.model_validate_json(override) if override else None,
            replaced_version=tags.get(REPLACED_VERSION, ""),
        )

    def to_tags(self) -> dict[str, str]:
        """The tags from which :meth:`from_mlflow` makes it again; unknown facts have none."""
        tags = {
            "model": self.model,
            "dataset": self.dataset,
            "synthetic": str(self.synthetic).lower(),
            "training_months": ",".join(self.training_months),
            "validation_months": ",".join(self.validation_months),
            "test_month": self.test_month,
            "training_set": self.training_set,
            _REFIT: str(self.refit).lower(),
            "description": self.description,
        }
        if self.test_rmse is not None:
            tags["test_rmse"] = f"{self.test_rmse:.6f}"
        if self.interval is not None:
            figures = (self.interval.nominal, self.interval.coverage, self.interval.mean_width)
            tags |= {
                tag: f"{figure:.6f}"
                for tag, figure in zip(_INTERVAL, figures, strict=True)
                if figure is not None
            }
        if self.caveat is not None:
            tags["caveat"] = self.caveat
        if self.fingerprint is not None:
            tags[FINGERPRINT] = json.dumps(list(self.fingerprint))
        if self.manual_override is not None:
            tags[MANUAL_OVERRIDE] = self.manual_override.model_dump_json()
        if self.replaced_version:
            tags[REPLACED_VERSION] = self.replaced_version
        return tags


def describe_fit(refit: bool, training_months: Iterable[str]) -> str:
    """Describe a fit: its months, and which fit its figures are of.

    Args:
        refit: Whether it was refitted on all months, the test month included.
        training_months: Its months.
    """
    months = ", ".join(training_months)
    if refit:
        return f"refitted on all months: {months}; the figures are those of the fit before"
    return f"fitted on {months}"


def _interval(tags: Mapping[str, str]) -> IntervalFigures | None:
    nominal, coverage, mean_width = (_number(tags.get(tag)) for tag in _INTERVAL)
    if nominal is None:
        return None
    return IntervalFigures(nominal=nominal, coverage=coverage, mean_width=mean_width)


def _months(text: str) -> tuple[str, ...]:
    return tuple(sorted(month for month in text.split(",") if month))


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
