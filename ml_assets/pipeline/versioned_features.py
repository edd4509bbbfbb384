"""A registry of features: name, description, computation, and version of the definition.

A fitted pipeline stores the names and versions of its features and computes only those. So a new
feature changes no registered model, and a changed definition is a new entry besides the old one,
which registered models continue to use.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

Source = TypeVar("Source")
"""The input of a feature's computation, such as the fields of requests."""

Versions = Mapping[str, int]
"""Names of features to the versions of their definitions, in the order of the columns."""


class UnknownFeature(LookupError):
    """A model needs a feature, or a version of one, that this code does not define."""


@dataclass(frozen=True)
class Feature(Generic[Source]):
    """One input column of a model.

    Attributes:
        name: Identifier, unique in its registry.
        description: One sentence; shown with the importance of the feature in Dagster's UI and in
            MLflow.
        compute: Computes the column, shape (n,), from the source of all rows.
        version: Version of the definition. A changed definition is a new entry with the same name
            and the next version; the old entry stays while a registered model uses it.
        retired: Whether new models omit it. Set it on the newest version to remove a feature.
        of_distance: Whether it depends on the stated distance. Such columns come last, and the
            estimator for requests without a distance does not see them.
        codes: Number of codes of an indicator that is ``of_distance``: each has a column.
    """

    name: str
    description: str
    compute: Callable[[Source], npt.ArrayLike]
    version: int = 1
    retired: bool = False
    of_distance: bool = False
    codes: int = 1


class FeatureRegistry(Generic[Source]):
    """All definitions of one kind of feature.

    Args:
        features: Features in the order of the columns; a later version has the position of the
            first one.

    Raises:
        ValueError: Two entries have the same name and version.
    """

    def __init__(self, *features: Feature[Source]) -> None:
        self._defined = {(feature.name, feature.version): feature for feature in features}
        if len(self._defined) < len(features):
            names = [(feature.name, feature.version) for feature in features]
            twice = next(key for key in names if names.count(key) > 1)
            raise ValueError(
                f"the feature {twice[0]} is defined twice with version {twice[1]}: give the new "
                "definition the next version"
            )

    def __iter__(self) -> Iterator[Feature[Source]]:
        return iter(self._defined.values())

    @property
    def current(self) -> dict[str, int]:
        """The features of a new model: the newest version of each one not retired."""
        newest: dict[str, Feature[Source]] = {}
        for feature in self:
            if feature.name not in newest or feature.version > newest[feature.name].version:
                newest[feature.name] = feature
        return {name: feature.version for name, feature in newest.items() if not feature.retired}

    def select(self, versions: Versions) -> list[Feature[Source]]:
        """Return the definitions with these names and versions.

        Raises:
            UnknownFeature: One is not defined; the message names it and the remedy.
        """
        try:
            return [self._defined[key] for key in versions.items()]
        except KeyError:
            raise UnknownFeature(self._explain(versions)) from None

    def of_distance(self, versions: Versions) -> npt.NDArray[np.bool_]:
        """Whether each feature depends on the stated distance; raises as :meth:`select`."""
        return np.array([feature.of_distance for feature in self.select(versions)], dtype=bool)

    def describe(self, versions: Versions) -> dict[str, str]:
        """Return the sentence of each feature by its name; raises as :meth:`select`."""
        return {feature.name: feature.description for feature in self.select(versions)}

    def compute(self, versions: Versions, source: Source, rows: int) -> Matrix:
        """Compute features: float64, shape (rows, len(versions)); raises as :meth:`select`."""
        matrix = np.empty((rows, len(versions)))
        for column, feature in enumerate(self.select(versions)):
            matrix[:, column] = feature.compute(source)
        return matrix

    def _explain(self, versions: Versions) -> str:
        parts = []
        for name, version in versions.items():
            if (name, version) in self._defined:
                continue
            defined = sorted(v for other, v in self._defined if other == name)
            now = f"versions {', '.join(map(str, defined))}" if defined else "no such feature"
            parts.append(f"{name} version {version} (this code has {now})")
        return (
            f"the model was fitted with {', '.join(parts)}: use a version that was trained with "
            "this code, or restore that definition"
        )


class NamedColumns:
    """A matrix with named columns.

    Raises:
        ValueError: The number of names is not the number of columns.
    """

    def __init__(self, matrix: Matrix, names: Sequence[str]) -> None:
        if matrix.shape[1] != len(names):
            raise ValueError(
                f"the matrix has {matrix.shape[1]} columns, but {len(names)} were expected: "
                f"{', '.join(names)}"
            )
        self.matrix = matrix
        self._position = {name: position for position, name in enumerate(names)}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.matrix[:, self._position[name]]

    def __len__(self) -> int:
        return len(self.matrix)

    def rows(self, chosen: npt.NDArray[Any]) -> "NamedColumns":
        """Select rows by a mask or by numbers."""
        return NamedColumns(self.matrix[chosen], list(self._position))

    def without(self, name: str) -> Matrix:
        """Return all columns but one."""
        return self.matrix[:, [at for other, at in self._position.items() if other != name]]
