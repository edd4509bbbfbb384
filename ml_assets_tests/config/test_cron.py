"""What passes as a cron expression is one that Dagster can run."""

from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from ml_assets.config.cron import CronError, check_cron

_NAMES = (["*"], ["*"], ["*"], ["jan", "FEB", "dec", "*"], ["sun", "Sat", "*", "L"])
_MOST = (60, 24, 32, 13, 8)  # one too many


def field_of(number):
    value = st.integers(0, _MOST[number]).map(str) | st.sampled_from(_NAMES[number])
    step = st.integers(0, _MOST[number] + 1)
    part = st.one_of(
        value,
        value,
        st.builds("{}-{}".format, value, value),
        st.builds("*/{}".format, step),
        st.builds("{}-{}/{}".format, value, value, step),
    )
    return st.lists(part, min_size=1, max_size=2).map(",".join)


_EXPRESSION = st.tuples(*map(field_of, range(5))).map(" ".join)


def accepted(expression):
    try:
        check_cron(expression)
    except CronError:
        return False
    return True


@pytest.mark.filterwarnings("error")
@settings(max_examples=400, deadline=None)
@given(_EXPRESSION)
@example("0 0 31 2,4 *")
@example("0 0 31 2 sat-7")
@example("0 0 * * 7")
def test_what_is_accepted_is_a_schedule_with_a_next_time(expression):
    event(f"accepted: {accepted(expression)}")
    if accepted(expression):
        dg.ScheduleDefinition(job_name="job", cron_schedule=expression)
        start = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
        times = schedule_execution_time_iterator(start, expression, "America/New_York")
        assert next(times).timestamp() >= start


@pytest.mark.parametrize("expression", ["0 6 5 * *", "0 4 * * 0", "*/5 8-18 * * mon-fri"])
def test_what_people_write_is_accepted(expression):
    assert accepted(expression)


@pytest.mark.parametrize(
    "expression",
    ["", "@daily", "0 0 30 2 *", "60 * * * *", "* * * * * *", "5/10 * * * *", "5-1 * * * *"],
)
def test_what_never_comes_or_is_written_otherwise_is_not(expression):
    assert not accepted(expression)
