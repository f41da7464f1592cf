"""The quick form of the conformance run: see tests/conformance."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]


def test_the_quick_conformance_run_has_no_disagreement() -> None:
    command = [sys.executable, str(ROOT / "tests" / "conformance" / "run.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "\n0 disagreements" in done.stdout
