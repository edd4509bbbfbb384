"""Fixtures: mail servers and webhooks that run for one test."""

import contextlib

import pytest

from ml_assets_tests.alerts.servers import Authority, running_mail, running_webhook


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def started():
    with contextlib.ExitStack() as stack:
        yield stack.enter_context


@pytest.fixture
def mail(started, authority):
    def start(security, name="127.0.0.1"):
        return started(running_mail(security, authority.context_for(name)))

    return start


@pytest.fixture
def webhook(started):
    return lambda **options: started(running_webhook(**options))
