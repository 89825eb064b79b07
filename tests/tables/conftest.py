"""Fixtures of the table tests."""

from pathlib import Path

import pytest
from tables_tools import Tools


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    tmp_path.chmod(0o755)
    return Tools(tmp_path)
