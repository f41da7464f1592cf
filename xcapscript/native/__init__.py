"""What is done with every packet, in C, which the wheel's build compiles where there is a compiler.

All of it is also there in Python, for where there is none, and does the same.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LIBRARY = "_native.so"
SWITCH = "XCAP_NATIVE"
"""The environment's variable which, when it is 0, has everything done in Python."""

_P, _U32, _U64, _INT, _BYTES = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p
_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "xcap_packet_size": (_U32, ()),
    "xcap_ring_open": (_P, (_INT, _U64, _U32)),
    "xcap_ring_take": (_U32, (_P, _U64, _U64, _INT)),
    "xcap_ring_release": (None, (_P,)),
    "xcap_ring_close": (None, (_P,)),
    "xcap_writer_new": (_P, (_U64, _INT)),
    "xcap_writer_free": (None, (_P,)),
    "xcap_writer_forget": (None, (_P,)),
    "xcap_writer_learn": (_INT, (_P, _U32, _BYTES, _U32, _BYTES, _U32)),
    "xcap_writer_put": (_INT, (_P, _BYTES, _U64)),
    "xcap_write": (_U32, (_P, _U32, _U32, _U64, _P, _P)),
    "xcap_keeper_new": (_P, (_U64,)),
    "xcap_keeper_free": (None, (_P,)),
    "xcap_keep": (_INT, (_P, _BYTES, _U64)),
}


@functools.cache
def library() -> ctypes.CDLL | None:
    """The library, with its functions' types declared; None where it was not built."""
    return open_library(Path(__file__).with_name(LIBRARY), os.environ)


def open_library(path: Path, environ: Mapping[str, str]) -> ctypes.CDLL | None:
    """The library of that path; None where it is not there, or not wanted."""
    if environ.get(SWITCH) == "0" or not path.exists():
        return None
    found = ctypes.CDLL(str(path), use_errno=True)
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    return found
