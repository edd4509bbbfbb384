"""What is another by now than when a registered version was trained."""

from pydantic import BaseModel

from ml_assets.config.code_version import model_code_version
from ml_assets.evaluation.records import TrainingSet
from ml_assets.registry.environment import this_environment
from ml_assets.registry.loading import AnswersOtherwise, load_as_registered
from ml_assets.reproduction.training_record import RecordedVersion


class Difference(BaseModel):
    """An input that is another one than when the version was trained."""

    input: str
    recorded: str
    now: str


def differing_inputs(recorded: RecordedVersion, now: TrainingSet) -> list[Difference]:
    """Every input that is another one by now: months, code, libraries, machine.

    Args:
        recorded: A registered version.
        now: Its training set, with its months as they are stored by now.
    """
    found = _months_apart(recorded.training_set, now)
    here = this_environment()
    pairs = {"code": (recorded.code_version, model_code_version())}
    for library, version in recorded.libraries().items():
        installed = here.libraries.get(library, version)
        pairs[f"library {library}"] = (version, installed)
    if recorded.environment is not None:
        pairs["Python"] = (recorded.environment.python, here.python)
        pairs["processor"] = (recorded.environment.machine, here.machine)
        pairs["cores"] = (str(recorded.environment.cores), str(here.cores))
    found += [
        Difference(input=name, recorded=then or "not recorded", now=by_now)
        for name, (then, by_now) in pairs.items()
        if then != by_now
    ]
    try:
        load_as_registered(recorded.uri, recorded.tags)
    except AnswersOtherwise as error:
        told = Difference(input="the code's answers", recorded="as registered", now=str(error))
        found.append(told)
    return found


def _months_apart(then: TrainingSet, now: TrainingSet) -> list[Difference]:
    """Months that were published anew, or made by other code; each once, whatever its roles."""
    found: dict[str, Difference] = {}
    for before, after in zip(then.months, now.months, strict=True):
        pairs = {
            f"published file of {before.month} (sha256)": (
                before.raw_sha256[:12],
                after.raw_sha256[:12],
            ),
            f"trips kept of {before.month}": (f"{before.rows:,}", f"{after.rows:,}"),
            f"code that cleaned {before.month}": (before.code_version, after.code_version),
        }
        for name, (one, other) in pairs.items():
            if one != other:
                found[name] = Difference(input=name, recorded=one, now=other)
    return list(found.values())
