"""Names of files that will be written: whether that can be is told at once, not when a clause has been compiled."""

from __future__ import annotations

import os
from pathlib import Path

from xcapscript.errors import UsageError


def in_home(name: str) -> str:
    """With the home directory in the place of a '~', as a shell would."""
    return os.path.expanduser(name)  # noqa: PTH111 -- a name, of which Path would change more


def check_writable(name: str) -> None:
    """UsageError, with the reason, if no file of that name can be written. What is there is left as it is."""
    path = Path(name)
    try:
        if not path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            path.unlink()
        elif path.is_file() or path.is_dir():
            # of a pipe or a device it would be more than a look
            os.close(os.open(path, os.O_WRONLY))
    except OSError as error:
        raise UsageError(f"cannot write '{name}': {error.strerror}") from None
    except ValueError:
        raise UsageError(f"cannot write '{name}': no file is called so") from None
