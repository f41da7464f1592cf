"""The process that compiles: it alone imports bcc, because LLVM may call exit(1) and take its process along.

It is given one socket. A request is a line of JSON; the answer is one too, with the descriptors that it names.
"""

from __future__ import annotations

import array
import json
import os
import resource
import socket
import sys
from typing import Any

from xcapscript.kernel.kinds import ProgramType
from xcapscript.kernel.typed import Load, load_copy, load_typed, macros, reads_paged_data
from xcapscript.runtime.blame import TOO_LONG

BY_BCC = frozenset({ProgramType.RAW_TRACEPOINT, ProgramType.TRACEPOINT})
INSTRUCTION_SIZE = 8
LONGEST_PROGRAM = 32767
"""Instructions. A jump crosses no more, and LLVM 14 cuts off what does not fit, without a word."""

DESCRIPTORS_A_MESSAGE = 250
"""SCM_MAX_FD is 253."""


def main() -> None:
    """Serve requests until the socket is closed."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    _raise_limit()
    from bcc import BPF  # noqa: PLC0415 -- half of the start-up time; it goes on while the script is read
    from bcc.libbcc import lib  # noqa: PLC0415

    paged = reads_paged_data()
    with connection, connection.makefile("r", encoding="utf-8") as requests:
        for line in requests:
            request = json.loads(line)
            answer, descriptors = _serve(request, BPF, lib, typed=paged)
            if paged and "failed" in answer and TOO_LONG not in answer["reason"] and answer["failed"] != "compile":
                # a tracepoint whose packet the kernel trusts less: it is read without the help of the kernel
                answer, descriptors = _serve(request, BPF, lib, typed=False)
            payload = (json.dumps(answer) + "\n").encode()
            connection.sendall(payload)
            for at in range(0, len(descriptors), DESCRIPTORS_A_MESSAGE):
                some = array.array("i", descriptors[at : at + DESCRIPTORS_A_MESSAGE])
                connection.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, some)])


def _raise_limit() -> None:
    """A descriptor a map and a program: 1024, the usual limit, may be too few. BCC tells neither which nor why."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _serve(request: dict[str, Any], bpf_class: Any, lib: Any, *, typed: bool) -> tuple[dict[str, Any], list[int]]:
    """Compile and load. The answer's `failed` is 'compile', or the function that the kernel refused."""
    if request["headers"]:
        os.environ["BCC_KERNEL_SOURCE"] = request["headers"]
    # BCC looks for headers in the working directory first, where anybody may have put some.
    os.chdir(request["headers"] or "/")
    flags = [*request["cflags"], f"-DXCAP_TYPED={typed:d}", *(f"-D{name}={n}" for name, n in macros().items())]
    try:
        bpf = bpf_class(text=request["text"], cflags=flags)
    except Exception as error:  # noqa: BLE001 -- bcc raises nothing else
        return {"failed": "compile", "reason": str(error)}, []
    _keep.append(bpf)
    descriptors = []
    for function, copies in request["functions"]:
        code = bpf.dump_func(function)
        if len(code) // INSTRUCTION_SIZE > LONGEST_PROGRAM:
            return {"failed": function, "reason": f"{TOO_LONG}: {len(code) // INSTRUCTION_SIZE} instructions"}, []
        try:
            descriptors += [_load(bpf, function, code, Load(**copy), typed=typed) for copy in copies]
        except Exception as error:  # noqa: BLE001 -- bcc raises nothing else
            sys.stderr.write(getattr(error, "log", ""))
            return {"failed": function, "reason": str(error)}, []
    descriptors += [lib.bpf_table_fd(bpf.module, name.encode()) for name in request["maps"]]
    return {"descriptors": len(descriptors)}, descriptors


def _load(bpf: Any, function: str, code: bytes, load: Load, *, typed: bool) -> int:
    """The descriptor of one copy: by BCC, which tells the verifier the lines of the script, where BCC can."""
    if load.type in BY_BCC and not (typed and load.target):
        return int(bpf.load_func(function, load.type).fd)
    if load.type == ProgramType.RAW_TRACEPOINT:
        return load_typed(function, load.target, code)
    return load_copy(function, code, load)


_keep: list[Any] = []
"""bcc closes a program's descriptors when its object goes; they are sent after that."""

if __name__ == "__main__":
    main()
