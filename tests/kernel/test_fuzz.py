"""The quick form of the fuzz runs (see tests/fuzz), and the programs that they found, which must go on being loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
VARIABLES = "".join(f"$v{number} = len + {number}; " for number in range(300))
SHOWN = ", ".join(f"$v{number}" for number in range(300))

FOUND = {
    "flows compared": "rx { $f = flow; print(flow == $f, flow != $f); }",
    "layers behind a tunnel": 'rx /inner "tcp"/ { print(flow); }',
    "layers and packets": "rx { print(flow, ip.src, ip.dst); dump; dump; stack; if (ip.src != ip.dst) { hex; } }",
    "300 variables at once": f"rx {{ {VARIABLES} print({SHOWN}); }}",
    "100 values at once": f"rx {{ print({', '.join(f'skb->len + {number}' for number in range(100))}); }}",
    "59 maps in a clause": f"rx {{ {''.join(f'@m{number} = count();' for number in range(59))} }}",
}


def test_the_quick_fuzz_run_finds_nothing() -> None:
    command = [sys.executable, str(ROOT / "tests" / "fuzz" / "run.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert done.stdout.count(" 0 kinds of failure") == 3


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in FOUND.items()])
def test_what_was_not_loaded_once_is_loaded(text: str) -> None:
    code = (
        "import sys; from tests.fuzz.loads import Loader; from xcapscript.kernel.live import LiveKernel; "
        "failure = Loader(LiveKernel()).failure(sys.argv[1]); sys.exit(failure and failure.signature)"
    )
    done = subprocess.run([sys.executable, "-c", code, text], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
