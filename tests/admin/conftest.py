"""Control sockets that answer, and a configuration directory, for the queue tools."""

import pytest
from office import Office


@pytest.fixture
def office(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    made = Office(tmp_path)
    yield made
    made.close()
