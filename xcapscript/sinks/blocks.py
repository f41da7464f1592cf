"""pcapng blocks as bytes, in native byte order (draft-ietf-opsawg-pcapng, sections 3 and 4)."""

from __future__ import annotations

import platform
import struct
from dataclasses import dataclass
from pathlib import Path

from xcapscript import __version__

_SECTION_HEADER, _INTERFACE_DESCRIPTION, _INTERFACE_STATISTICS, _ENHANCED_PACKET = 0x0A0D0D0A, 1, 5, 6
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_UNKNOWN_LENGTH = -1
_OPT_COMMENT = 1
_SHB_HARDWARE, _SHB_OS, _SHB_USERAPPL = 2, 3, 4
_IF_NAME, _IF_DESCRIPTION, _IF_MACADDR, _IF_TSRESOL, _IF_FILTER = 2, 3, 6, 9, 11
_EPB_FLAGS, _EPB_HASH, _EPB_DROPCOUNT, _EPB_QUEUE, _EPB_VERDICT = 2, 3, 4, 6, 7
_TOEPLITZ = 5
_ISB_STARTTIME, _ISB_ENDTIME, _ISB_IFRECV, _ISB_IFDROP = 2, 3, 4, 5
_NANOSECONDS = b"\x09"
_FILTER_TEXT = b"\0"
_END_OF_OPTIONS = bytes(4)
_LONGEST_OPTION = 0xFFFF
_PACKET_OVERHEAD = 32


def section_header() -> bytes:
    """The block a file begins with: what machine, system and program wrote it."""
    options = (
        _text_option(_SHB_HARDWARE, _hardware())
        + _text_option(_SHB_OS, f"{platform.system()} {platform.release()}")
        + _text_option(_SHB_USERAPPL, f"xcapscript {__version__}")
    )
    return _block(_SECTION_HEADER, struct.pack("=IHHq", _BYTE_ORDER_MAGIC, 1, 0, _UNKNOWN_LENGTH), options)


def interface_description(
    *, link: int, snaplen: int, name: str, description: str, filter_text: str | None = None, mac: bytes | None = None
) -> bytes:
    """An interface whose packets have times in ns. `link` is a pcap link type; a snaplen of 0 means no limit."""
    options = (
        _text_option(_IF_NAME, name)
        + _text_option(_IF_DESCRIPTION, description)
        + (b"" if mac is None else _option(_IF_MACADDR, mac))
        + _option(_IF_TSRESOL, _NANOSECONDS)
        + (b"" if filter_text is None else _option(_IF_FILTER, _FILTER_TEXT + _utf8(filter_text)))
    )
    return _block(_INTERFACE_DESCRIPTION, struct.pack("=HHI", link, 0, snaplen), options)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What is known of an interface in the end; times are ns since 1970, None is what is not known."""

    start: int
    end: int
    received: int | None = None
    dropped: int | None = None
    comment: str | None = None


def interface_statistics(interface: int, statistics: Statistics) -> bytes:
    options = (
        (b"" if statistics.comment is None else comment_option(statistics.comment))
        + _option(_ISB_STARTTIME, _time(statistics.start))
        + _option(_ISB_ENDTIME, _time(statistics.end))
        + (b"" if statistics.received is None else _option(_ISB_IFRECV, struct.pack("=Q", statistics.received)))
        + (b"" if statistics.dropped is None else _option(_ISB_IFDROP, struct.pack("=Q", statistics.dropped)))
    )
    return _block(_INTERFACE_STATISTICS, struct.pack("=I", interface) + _time(statistics.end), options)


def packet_frame(interface: int, *, captured: int, original: int, options: bytes) -> tuple[bytes, bytes, bytes]:
    """An Enhanced Packet Block less its time and its bytes.

    The 12 bytes before the time, the 8 between the time and the packet's bytes, and what stands behind those.
    """
    behind = bytes(-captured % 4) + options + _END_OF_OPTIONS
    total = _PACKET_OVERHEAD + captured + len(behind)
    return (
        struct.pack("=III", _ENHANCED_PACKET, total, interface),
        struct.pack("=II", captured, original),
        behind + struct.pack("=I", total),
    )


def flags_option(flags: int) -> bytes:
    """epb_flags: direction and reception."""
    return _option(_EPB_FLAGS, struct.pack("=I", flags))


def queue_option(queue: int) -> bytes:
    """epb_queue: the number of the device's queue."""
    return _option(_EPB_QUEUE, struct.pack("=I", queue))


def verdict_option(kind: int, verdict: int) -> bytes:
    """epb_verdict: what a program answered, of tc (1) or of XDP (2)."""
    return _option(_EPB_VERDICT, struct.pack("=Bq", kind, verdict))


def hash_option(number: int) -> bytes:
    """epb_hash: a hash that a network card made, which is Toeplitz's."""
    return _option(_EPB_HASH, struct.pack("=BI", _TOEPLITZ, number))


def dropcount_option(count: int) -> bytes:
    """epb_dropcount: packets lost between this one and the one before."""
    return _option(_EPB_DROPCOUNT, struct.pack("=Q", count))


def custom_option(code: int, value: bytes) -> bytes:
    """A custom option, whose value begins with the enterprise number."""
    return _option(code, value)


def comment_option(comment: str) -> bytes:
    """opt_comment, for any block."""
    return _text_option(_OPT_COMMENT, comment)


def whole_blocks(blocks: bytes | memoryview, limit: int) -> int:
    """How many of the first `limit` bytes of `blocks` belong to blocks that are complete within them."""
    at = 0
    while at + 8 <= limit:
        (length,) = struct.unpack_from("=I", blocks, at + 4)
        if at + length > limit:
            break
        at += length
    return at


def packets_in(blocks: bytes | memoryview, start: int = 0) -> int:
    """How many packets the blocks have that begin at `start`."""
    count, at = 0, start
    while at + 8 <= len(blocks):
        kind, length = struct.unpack_from("=II", blocks, at)
        count += kind == _ENHANCED_PACKET
        at += max(length, 8)
    return count


def _block(kind: int, body: bytes, options: bytes) -> bytes:
    total = 12 + len(body) + len(options) + len(_END_OF_OPTIONS)
    return struct.pack("=II", kind, total) + body + options + _END_OF_OPTIONS + struct.pack("=I", total)


def _text_option(code: int, text: str) -> bytes:
    return _option(code, _utf8(text))


def _utf8(text: str) -> bytes:
    # A command line that is no UTF-8 reaches us with surrogates in it.
    return text.encode("utf-8", "backslashreplace")


def _option(code: int, value: bytes) -> bytes:
    value = value[:_LONGEST_OPTION]
    return struct.pack("=HH", code, len(value)) + value + bytes(-len(value) % 4)


def _time(nanoseconds: int) -> bytes:
    return struct.pack("=II", nanoseconds >> 32, nanoseconds & 0xFFFFFFFF)


def _hardware() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())
