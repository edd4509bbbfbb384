"""A project whose alerts go to a mail server of this machine."""

import pytest

from ml_assets_tests.alerts.servers import running_mail
from ml_assets_tests.defs.alerting.alerted_home import Home
from ml_assets_tests.project import open_project, settings_for


@pytest.fixture(scope="module")
def mail_server():
    with running_mail() as running:
        yield running


@pytest.fixture
def server(mail_server):
    mail_server.inbox.envelopes.clear()
    return mail_server


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    return folder


@pytest.fixture
def project(tmp_path, folder):
    with open_project(settings_for(tmp_path / "home", folder)) as project:
        yield project


@pytest.fixture
def home(project, folder, server):
    return Home(project, folder, server)
