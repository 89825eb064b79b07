"""A mail system with stand-in workers, ended with the test."""

from pathlib import Path

import pytest
from mail_system import MailSystem


@pytest.fixture
def system(tmp_path: Path):
    for directory in (tmp_path, *tmp_path.parents):  # an unprivileged worker must find its way
        if directory.name.startswith("pytest-") or directory == tmp_path:
            directory.chmod(0o755)
    made = MailSystem(tmp_path)
    yield made
    made.close()
