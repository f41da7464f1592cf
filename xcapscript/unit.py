"""What codegen hands the runtime: the C text, and all that is to be known to load, attach, read and print it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum, auto

from xcapscript.layout import Layout
from xcapscript.quotes import quoted
from xcapscript.source import Span

ALL_BITS = (1 << 64) - 1
SIGN_BIT = 1 << 63


class HookKind(StrEnum):
    """The kinds of attach point, named as users write them."""

    KPROBE = "kprobe"
    KRETPROBE = "kretprobe"
    FENTRY = "fentry"
    FEXIT = "fexit"
    UPROBE = "uprobe"
    URETPROBE = "uretprobe"
    USDT = "usdt"
    TRACEPOINT = "tracepoint"
    RAWTRACEPOINT = "rawtracepoint"
    XDP = "xdp"
    TC = "tc"
    SOCKET = "socket"
    INTERVAL = "interval"
    BEGIN = "begin"
    END = "end"


ENTRIES = {
    HookKind.KRETPROBE: HookKind.KPROBE,
    HookKind.FEXIT: HookKind.FENTRY,
    HookKind.URETPROBE: HookKind.UPROBE,
}
"""What is hit when a function is entered, that is looked at when it returns."""


STACKLESS = frozenset({HookKind.XDP, HookKind.TC, HookKind.SOCKET})
"""Kinds whose programs may not ask for the kernel's stack."""

XDP_PASS, TC_ACT_UNSPEC = 2, -1
"""What programs at xdp and tc hooks answer: the packet goes on as if they were not there."""


class LinkType(IntEnum):
    """pcap link types (https://www.tcpdump.org/linktypes.html)."""

    EN10MB = 1
    RAW = 101


class Buffer(StrEnum):
    """What lies between kernel and user space: one ring buffer, or a perf buffer for each CPU."""

    RING = "ring"
    PERF = "perf"


class EventKind(Enum):
    """What a record in the ring asks user space to do."""

    DUMP = auto()
    LINE = auto()
    STACK = auto()
    HEX = auto()
    RING = auto()
    COMMIT = auto()
    PRINT = auto()
    PRINTF = auto()
    PRINT_MAP = auto()
    CLEAR_MAP = auto()
    ZERO_MAP = auto()
    EXIT = auto()
    LIMIT = auto()


class Aggregation(StrEnum):
    """What a map keeps for each key."""

    COUNT = "count"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    AVG = "avg"
    STATS = "stats"
    HIST = "hist"
    LHIST = "lhist"
    VALUE = "value"
    """No aggregation: what was assigned last."""


USER_KINDS = frozenset({HookKind.UPROBE, HookKind.URETPROBE, HookKind.USDT})
"""Those that are in programs, not in the kernel."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place in a program's file, in bytes from its beginning: of which of the attachment's functions it is, and where
    the program counts who looks at it (0: it does not).
    """

    offset: int
    function: int = 0
    semaphore: int = 0


_PROCESS = re.compile("pid:[0-9]+")


@dataclass(frozen=True, slots=True)
class Device:
    """A network interface, in the network namespace that the script calls so; empty: in our own."""

    name: str
    namespace: str = ""

    def __str__(self) -> str:
        """As it stands in a hook."""
        place = self.namespace if _PROCESS.fullmatch(self.namespace) else quoted(self.namespace)
        return f"{quoted(self.name)}@{place}" if self.namespace else quoted(self.name)


@dataclass(frozen=True, slots=True)
class Attachment:
    """Where a program is attached: `target` is the raw tracepoint's name, or 'category:name' of the tracepoint `id`.

    `period` of an interval is in ns. `functions` are the kernel's symbols that a kprobe or the like is attached to, all
    those of a wildcard whose packet is the same argument; they are in `module`, and the probe `offset` bytes behind.
    Those of a program are at `sites` of the file `path`, and are looked at in one `process` alone, if there is one.
    `devices` are the interfaces of an xdp, tc or socket hook, all those of a wildcard; behind the target of a tc hook
    stands which way.
    """

    kind: HookKind
    target: str = ""
    id: int = 0
    period: int = 0
    functions: tuple[str, ...] = ()
    module: str = ""
    offset: int = 0
    path: str = ""
    sites: tuple[Site, ...] = ()
    process: int | None = None
    devices: tuple[Device, ...] = ()

    @property
    def places(self) -> int:
        """How many places in the kernel that is."""
        return max(1, len(self.functions), len(self.devices))

    @property
    def names(self) -> tuple[str, ...]:
        """Of each function, or else of the one place, what the kernel calls it."""
        return self.functions or ((self.target,) if self.devices else (self.target.rpartition(":")[2],))


@dataclass(frozen=True, slots=True)
class Program:
    """One C function for one attach point of one clause; `hook` is what the user called the attach point.

    `entry` is the C function that runs when the kernel's function is entered, where this one runs when it returns. Each
    of several functions has a cookie, by which the program knows which was hit. `turn` looks at packets of a burst: it
    is called through the map `turns`.
    """

    function: str
    attachment: Attachment
    hook: str
    span: Span
    entry: str = ""
    turn: str = ""
    turns: str = ""
    cookies: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Buckets:
    """Those of a linear histogram: 0 below `low`, then one for each `step` up to `high`, and one for the rest."""

    low: int
    high: int
    step: int


@dataclass(frozen=True, slots=True)
class MapSpec:
    """One `@map`; its C name is `symbol`.

    An aggregation has values per CPU: `value` alone, or `count` and `total`. That of min() and max() is kept so that
    the largest is the result, and zero is none (`unfold`). A histogram's key ends in the bucket. A plain map has one
    value a key, of the type of the field `value`.
    """

    name: str
    symbol: str
    key: Layout
    value: Layout
    aggregation: Aggregation
    signed: bool
    max_entries: int
    span: Span
    buckets: Buckets | None = None
    index: int = 0

    @property
    def per_cpu(self) -> bool:
        return self.aggregation is not Aggregation.VALUE

    @property
    def fold(self) -> int:
        """The bits that are turned in what min() and max() keep: 64 bits, without sign."""
        return (SIGN_BIT if self.signed else 0) ^ (ALL_BITS if self.aggregation is Aggregation.MIN else 0)

    def unfold(self, kept: int) -> int:
        """The number that min() or max() has kept so."""
        number = kept ^ self.fold
        return number - (1 << 64) if self.signed and number & SIGN_BIT else number


@dataclass(frozen=True, slots=True)
class EventSpec:
    """One kind of record: which statement of which program sends it, and how its bytes are read.

    `layout` is PACKET or begins as it does for DUMP, RING, LINE, STACK and HEX, and as EVENT for others.
    `top` is how many rows of a map are printed, or packets kept in a ring; `after` of a commit is in ns.
    `has_reason` says that the hook knows why the packet was dropped; `reasons` names the values.
    """

    id: int
    kind: EventKind
    layout: Layout
    hook: str
    attachment: Attachment
    span: Span
    has_reason: bool = False
    reasons: tuple[tuple[int, str], ...] = ()
    filter: str | None = None
    path: str | None = None
    format: str | None = None
    map: str | None = None
    top: int | None = None
    status: int = 0
    after: int = 0


class Counter(IntEnum):
    """What is counted in the kernel for each program; the order is that of `struct xcap_counters`."""

    HITS = 0
    NO_PACKET = 1
    NO_LINK = 2
    NO_MATCH = 3
    NO_CONDITION = 4
    UNREAD = 5
    BAD_READS = 6
    MATCHED = 7
    LOST = 8


@dataclass(frozen=True, slots=True)
class Unit:
    """A compiled script."""

    text: str
    programs: tuple[Program, ...]
    events: tuple[EventSpec, ...]
    maps: tuple[MapSpec, ...]
    strings: tuple[str, ...]
    buffer_pages: int
    print_maps: bool = True
    c_texts: tuple[Span, ...] = ()
    """Where the script has C of its own."""

    buffer: Buffer = Buffer.RING
    """Of `buffer_pages` in all."""

    @property
    def kinds(self) -> frozenset[HookKind]:
        """The kinds of hook that its programs are for."""
        return frozenset(program.attachment.kind for program in self.programs)
