"""A version of the registered model as plain data, read from and written to MLflow's tags.

Promotion, reproduction, monitoring, backtesting and the service's bundle use it. It does not import
MLflow.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field

from ml_assets.storage.former_names import StoredRecord, with_present_names
from ml_assets.trips.month import Month

UNKNOWN_MODEL: Final = "unknown"
"""Family of a version whose tags do not name one."""

FINGERPRINT: Final = "fingerprint"
"""Tag: the predictions for ``probe_requests`` at the registration, as JSON."""

PREDICTION_TOLERANCE: Final = 1e-6
"""Minutes within which predictions count as equal: forests may add up their trees in any order."""

MANUAL_OVERRIDE: Final = "manual_override"
"""Tag of a manually promoted version: the fields of ``ManualOverride`` as JSON."""

REPLACED_VERSION: Final = "replaced_version"
"""Tag: the version that was champion before this one."""

_REFIT: Final = "refit"
_INTERVAL: Final = ("interval_nominal", "interval_coverage", "interval_mean_width")
_USUAL: Final = "_usual"
"""End of the tags of figures without a distance; the others are with the metered distance."""


class VersionId(StoredRecord):
    """Identity of a version.

    Attributes:
        version: Number in the registry; empty before the registration.
        run_id: MLflow run of its training; empty when unknown.
    """

    model_config = ConfigDict(frozen=True)

    model: str = Field(default=UNKNOWN_MODEL, description="Family of the model")
    version: str = Field(description="Number in the registry")
    run_id: str = ""

    @property
    def identity(self) -> str:
        """Identity that is unique across registries."""
        return identity(self.version, self.run_id)

    def __str__(self) -> str:
        return f"{self.model}, version {self.version}"


def identity(version: str, run_id: str) -> str:
    """Return a version's number with its MLflow run, which is unique across registries."""
    return f"{version}@{run_id}" if run_id else version


class IntervalFigures(BaseModel):
    """Coverage of the version's prediction intervals on the test month."""

    model_config = ConfigDict(frozen=True)

    nominal: float = Field(description="Share of trips that the intervals should cover")
    coverage: float | None = Field(
        default=None, description="Share of the test trips that they cover"
    )
    mean_width: float | None = Field(
        default=None, description="Their mean width on the test month, minutes"
    )


class ManualOverride(StoredRecord):
    """A manual promotion, which holds until models are evaluated on newer data.

    Attributes:
        kind: ``rollback`` or ``override``.
        test_month: Newest test month at that time.
        raw_sha256: SHA-256 of that month's published file.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    reason: str
    test_month: str
    raw_sha256: str

    def expired(self, tested: Iterable[tuple[str, str]]) -> bool:
        """Whether a later month or other file is tested, given test months and their SHA-256."""
        return any(
            month > self.test_month or (month == self.test_month and raw_sha256 != self.raw_sha256)
            for month, raw_sha256 in tested
        )


class ModelVersion(VersionId):
    """A version of the registered model. Internal fields are excluded from its JSON.

    Attributes:
        training_set: Fingerprint of its training set; empty when unknown.
        source: URI at which the fitted pipeline was logged.
        fingerprint: Predictions for ``probe_requests`` at the registration, minutes; None
            when they were not kept.
        manual_override: The manual promotion behind it; None after a decision.
        replaced_version: The champion before it; empty without one, or if it never was champion.
    """

    run_id: str = Field(default="", exclude=True)
    dataset: str = Field(default="", description="Dataset of the training trips")
    synthetic: bool = Field(default=False, description="Whether they are the synthetic sample")
    training_months: tuple[str, ...] = Field(default=(), description="Months that it was fitted on")
    validation_months: tuple[str, ...] = Field(
        default=(), description="Months on which its parameters were chosen"
    )
    test_month: str = Field(default="", description="Month that it was tested on")
    test_rmse: float | None = Field(default=None, description="RMSE on the test month, minutes")
    interval: IntervalFigures | None = Field(
        default=None, description="Null without prediction intervals"
    )
    test_rmse_usual: float | None = Field(
        default=None, description="RMSE on the test month without distances, minutes"
    )
    interval_usual: IntervalFigures | None = Field(
        default=None, description="Null without prediction intervals of requests without a distance"
    )
    refit: bool = Field(
        default=False,
        description="Whether it was refitted on all months, the test month included; the figures "
        "are then those of the fit before",
    )
    description: str = Field(default="", description="The fit and its months, in words")
    caveat: str | None = Field(default=None, description="Limitation of the metrics")
    training_set: str = Field(default="", exclude=True)
    source: str = Field(default="", exclude=True)
    fingerprint: tuple[float, ...] | None = Field(default=None, exclude=True)
    manual_override: ManualOverride | None = Field(default=None, exclude=True)
    replaced_version: str = Field(default="", exclude=True)

    @property
    def newest_month(self) -> Month | None:
        """Newest month used for the fit or to choose the parameters; None when unknown."""
        if not self.validation_months:
            return None
        return max(Month.parse(month) for month in (*self.training_months, *self.validation_months))

    def has_seen(self, month: str) -> bool:
        """Whether it was fitted or tuned on a month."""
        return month in self.training_months or month in self.validation_months

    @classmethod
    def from_mlflow(cls, version: Any) -> Self:
        """Make the record from MLflow's ``ModelVersion``; missing tags give the defaults."""
        tags = with_present_names(version.tags)
        fingerprint, override = tags.get(FINGERPRINT), tags.get(MANUAL_OVERRIDE)
        description = tags.get("description", "")
        # Versions of 0.1 have no tag `refit`: there the first word of the description says it.
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
            test_rmse_usual=_number(tags.get("test_rmse_usual")),
            interval_usual=_interval(tags, _USUAL),
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
        """Return the tags that :meth:`from_mlflow` reads; unknown values have none."""
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
        figures: dict[str, float | None] = {
            "test_rmse": self.test_rmse,
            f"test_rmse{_USUAL}": self.test_rmse_usual,
        }
        for suffix, found in (("", self.interval), (_USUAL, self.interval_usual)):
            if found is not None:
                measured = (found.nominal, found.coverage, found.mean_width)
                named = (f"{tag}{suffix}" for tag in _INTERVAL)
                figures |= dict(zip(named, measured, strict=True))
        tags |= {tag: f"{figure:.6f}" for tag, figure in figures.items() if figure is not None}
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
    """Describe a fit: its months, and which fit its figures are of."""
    months = ", ".join(training_months)
    if refit:
        return f"refitted on all months: {months}; the figures are those of the fit before"
    return f"fitted on {months}"


def _interval(tags: Mapping[str, str], suffix: str = "") -> IntervalFigures | None:
    nominal, coverage, mean_width = (_number(tags.get(f"{tag}{suffix}")) for tag in _INTERVAL)
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
