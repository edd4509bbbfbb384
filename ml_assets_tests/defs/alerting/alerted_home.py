"""A project whose alerts go to a local mail server, and decisions to alert on."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from ml_assets.config.alert_settings import AlertSettings
from ml_assets.defs.alerting.overdue import alert_sensors
from ml_assets.defs.resources import project_resources
from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.ingestion.source import published_filename
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.trips.month import Month
from ml_assets_tests.defs.ticks import Ticking

MONTHS = [Month(2023, number) for number in (1, 2, 3)]
UI = "http://dagster.example.org"


class Home:
    """A project whose alerts go to a local mail server."""

    def __init__(self, project, folder, mail, **changed):
        self.project, self.folder, self.mail = project, folder, mail
        self.later = timedelta()
        alerts = {"email": mail.settings(), "ui_url": UI, "on_success": True, **changed}
        self.sensors = alert_sensors(project.settings, AlertSettings(**alerts), self.now)
        self.ticking = {sensor.name: Ticking(project, sensor) for sensor in self.sensors}
        for name in self.ticking:
            self.tick(name)

    def now(self):
        return datetime.now(UTC) + self.later

    def tick(self, name):
        ticking = self.ticking[name]
        with dg.build_sensor_context(
            instance=self.project.instance,
            cursor=ticking.cursor,
            resources=project_resources(self.project.settings),
            definitions=self.project.definitions,
        ) as context:
            result = ticking.sensor.evaluate_tick(context)
        assert not result.run_requests
        # An error in a run status sensor appears in its reaction to the run, not in the tick.
        for reaction in result.dagster_run_reactions or []:
            assert reaction.error is None, reaction.error.to_string()
        ticking.cursor = result.cursor
        return result.skip_message

    def bad_month(self, month=MONTHS[0]):
        (self.folder / published_filename("green", month)).write_text("<html>unavailable</html>")

    def ingest(self, first=MONTHS[0], last=MONTHS[0]):
        return self.project.ingest(str(first), str(last))

    @property
    def messages(self):
        return [message.get_content() for message in self.mail.inbox.messages]

    @property
    def subjects(self):
        return self.mail.inbox.subjects


class Decisions:
    """Writes decisions as trainings and manual changes do."""

    def __init__(self, home):
        self.home, self.number = home, 0
        self.log = DecisionLog(home.project.settings.home, "green")

    def add(self, kind="training", promoted=False, **changed):
        self.number += 1
        defaults = {
            "decision_id": f"d{self.number}",
            "decided_at": (self.home.now() + timedelta(seconds=self.number)).isoformat(),
            "kind": kind,
            "promoted": promoted,
            "reason": f"reason {self.number}",
            "champion": "xgboost",
            "registry_version": "3",
            "previous_version": "2",
            "training_set": "",
            "synthetic": False,
            "description": "xgboost",
            "test_rmse": 1.0,
            "test_month": "2023-03",
            "dagster_run_id": f"run{self.number}",
        }
        decision = ChampionDecision(**{**defaults, **changed})
        self.log.write(decision)
        return decision
