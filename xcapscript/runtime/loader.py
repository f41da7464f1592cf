"""The process that compiles: it alone imports bcc, because LLVM may call exit(1) and take its process along.

It is given one socket. A request is a line of JSON; the answer is one too, with the descriptors that it names.
"""

from __future__ import annotations

import array
import json
import os
import socket
import sys
from typing import Any

DESCRIPTORS_A_MESSAGE = 250
"""SCM_MAX_FD is 253."""


def main() -> None:
    """Serve requests until the socket is closed."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    from bcc import BPF  # noqa: PLC0415 -- half of the start-up time; it goes on while the script is read
    from bcc.libbcc import lib  # noqa: PLC0415

    with connection, connection.makefile("r", encoding="utf-8") as requests:
        for line in requests:
            answer, descriptors = _serve(json.loads(line), BPF, lib)
            payload = (json.dumps(answer) + "\n").encode()
            connection.sendall(payload)
            for at in range(0, len(descriptors), DESCRIPTORS_A_MESSAGE):
                some = array.array("i", descriptors[at : at + DESCRIPTORS_A_MESSAGE])
                connection.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, some)])


def _serve(request: dict[str, Any], bpf_class: Any, lib: Any) -> tuple[dict[str, Any], list[int]]:  # bcc has no types
    """Compile and load. The answer's `failed` is 'compile', or the function that the kernel refused."""
    if request["headers"]:
        os.environ["BCC_KERNEL_SOURCE"] = request["headers"]
    # BCC looks for headers in the working directory first, where anybody may have put some.
    os.chdir(request["headers"] or "/")
    try:
        bpf = bpf_class(text=request["text"], cflags=request["cflags"])
    except Exception as error:  # noqa: BLE001 -- bcc raises nothing else
        return {"failed": "compile", "reason": str(error)}, []
    _keep.append(bpf)
    descriptors = []
    for function, kind in request["functions"]:
        try:
            descriptors.append(bpf.load_func(function, getattr(bpf_class, kind)).fd)
        except Exception as error:  # noqa: BLE001 -- bcc raises nothing else
            return {"failed": function, "reason": str(error)}, []
    descriptors += [lib.bpf_table_fd(bpf.module, name.encode()) for name in request["maps"]]
    return {"descriptors": len(descriptors)}, descriptors


_keep: list[Any] = []
"""bcc closes a program's descriptors when its object goes; they are sent after that."""

if __name__ == "__main__":
    main()
