"""What codegen hands the runtime: the C text, and all that is to be known to load, attach, read and print it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum, auto

from xcapscript.layout import Layout
from xcapscript.source import Span


class HookKind(StrEnum):
    """The kinds of attach point, named as users write them."""

    TRACEPOINT = "tracepoint"
    RAWTRACEPOINT = "rawtracepoint"
    INTERVAL = "interval"
    BEGIN = "begin"
    END = "end"


class LinkType(IntEnum):
    """pcap link types (https://www.tcpdump.org/linktypes.html)."""

    EN10MB = 1
    RAW = 101


class EventKind(Enum):
    """What a record in the ring asks user space to do."""

    DUMP = auto()
    LINE = auto()
    STACK = auto()
    PRINT = auto()
    PRINTF = auto()
    PRINT_MAP = auto()
    CLEAR_MAP = auto()
    EXIT = auto()
    LIMIT = auto()


class Aggregation(StrEnum):
    """What a map keeps for each key."""

    COUNT = "count"
    SUM = "sum"
    HIST = "hist"


@dataclass(frozen=True, slots=True)
class Attachment:
    """Where a program is attached: `target` is the raw tracepoint's name, or 'category:name' of the tracepoint `id`.

    `period` of an interval is in ns.
    """

    kind: HookKind
    target: str = ""
    id: int = 0
    period: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    """One C function for one attach point of one clause; `hook` is what the user called the attach point."""

    function: str
    attachment: Attachment
    hook: str
    span: Span


@dataclass(frozen=True, slots=True)
class MapSpec:
    """One `@map`: per-CPU values of 8 bytes by key; a histogram's key ends in the bucket. Its C name is `symbol`."""

    name: str
    symbol: str
    key: Layout
    aggregation: Aggregation
    signed: bool
    max_entries: int
    span: Span


@dataclass(frozen=True, slots=True)
class EventSpec:
    """One kind of record: which statement of which program sends it, and how its bytes are read.

    `layout` is PACKET or begins as it does for DUMP, LINE and STACK, and begins as EVENT for the others.
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


class Counter(IntEnum):
    """What is counted in the kernel for each program; the order is that of `struct xcap_counters`."""

    HITS = 0
    NO_PACKET = 1
    NO_LINK = 2
    NO_MATCH = 3
    UNREAD = 4
    MATCHED = 5
    LOST = 6


@dataclass(frozen=True, slots=True)
class Unit:
    """A compiled script."""

    text: str
    programs: tuple[Program, ...]
    events: tuple[EventSpec, ...]
    maps: tuple[MapSpec, ...]
    strings: tuple[str, ...]
    ring_pages: int
