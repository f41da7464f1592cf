"""The quick forms of the reliability runs: see tests/reliability."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.reliability.run import PROMISES

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", PROMISES)
def test_a_promise_is_kept_under_load(name: str) -> None:
    command = [sys.executable, str(ROOT / "tests" / "reliability" / "run.py"), "--quick", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
