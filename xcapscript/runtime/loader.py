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
from xcapscript.kernel.pages import Place, flags_of, place_of_pages
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
            answer, descriptors = _serve_by_any_means(json.loads(line), BPF, lib, typed=paged)
            payload = (json.dumps(answer) + "\n").encode()
            connection.sendall(payload)
            for at in range(0, len(descriptors), DESCRIPTORS_A_MESSAGE):
                some = array.array("i", descriptors[at : at + DESCRIPTORS_A_MESSAGE])
                connection.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, some)])


def _raise_limit() -> None:
    """A descriptor a map and a program: 1024, the usual limit, may be too few. BCC tells neither which nor why."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _serve_by_any_means(
    request: dict[str, Any], bpf_class: Any, lib: Any, *, typed: bool
) -> tuple[dict[str, Any], list[int]]:
    """Compile and load, in another way where the kernel refuses one: without pages found by hand, which may be too much
    for the verifier behind a long filter; and without the kernel's help, for a tracepoint whose packet it trusts less.
    """
    for trusted in dict.fromkeys((typed, False)):
        place = place_of_pages() if _finds_pages(request, typed=trusted) else None
        for known in dict.fromkeys((place, None)):
            answer, descriptors = _serve(request, bpf_class, lib, typed=trusted, place=known)
            if "failed" not in answer or TOO_LONG in answer["reason"] or answer["failed"] == "compile":
                return answer, descriptors
    return answer, descriptors


def _finds_pages(request: dict[str, Any], *, typed: bool) -> bool:
    """Whether a program may have to: no typed one, and none that has no packet."""
    kinds = {copy["type"] for _, copies in request["functions"] for copy in copies}
    return "xcap_lacks(" in request["text"] and not (typed and kinds == {ProgramType.RAW_TRACEPOINT})


def _serve(
    request: dict[str, Any], bpf_class: Any, lib: Any, *, typed: bool, place: Place | None
) -> tuple[dict[str, Any], list[int]]:
    """Compile and load. The answer's `failed` is 'compile', or the function that the kernel refused."""
    if request["headers"]:
        os.environ["BCC_KERNEL_SOURCE"] = request["headers"]
    # BCC looks for headers in the working directory first, where anybody may have put some.
    os.chdir(request["headers"] or "/")
    known = [f"-D{name}={number}" for name, number in macros().items()]
    flags = [*request["cflags"], f"-DXCAP_TYPED={typed:d}", *known, *flags_of(place)]
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
