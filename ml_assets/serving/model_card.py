"""What the service tells of the version that it answers with."""

from datetime import datetime

from pydantic import BaseModel, Field


class IntervalFigures(BaseModel):
    """How the version's prediction intervals did on the judged month."""

    nominal: float = Field(description="Share of trips that the intervals are to hold")
    coverage: float | None = Field(
        default=None, description="Share of the judged trips that they held"
    )
    mean_width: float | None = Field(default=None, description="Their mean width there, minutes")


class VersionFacts(BaseModel):
    """What the registry knows of a version."""

    version: str = Field(description="Number in the registry")
    alias: str = Field("champion", description="By which it serves")
    model: str = Field(description="Family of the model")
    dataset: str = Field(description="Which trips it was trained on")
    synthetic: bool = Field(description="Whether these were made up by the embedded sample")
    fitted_on: list[str] = Field(description="Months that it was fitted on")
    tuned_on: list[str] = Field(description="Months that its parameters were chosen on")
    judged_month: str = Field(description="Month that it was judged on, never having seen it")
    test_rmse: float | None = Field(
        default=None, description="Root mean squared error there, minutes"
    )
    interval: IntervalFigures | None = Field(
        default=None, description="Absent for versions of before"
    )
    served: str = Field(description="Which fit serves, in words")
    caveat: str | None = Field(default=None, description="What limits the meaning of the figures")


class ModelCard(VersionFacts):
    """The version in use."""

    loaded_at: datetime = Field(description="Since when this process answers with it (UTC)")
