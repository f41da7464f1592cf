"""How a hook's packet is reached and read, and what its programs must do without, by the kind of the hook."""

from __future__ import annotations

from collections.abc import Mapping

from xcapscript.ir import Hook, PacketForm
from xcapscript.unit import USER_KINDS, HookKind

CONTEXTS: Mapping[HookKind, str] = {
    HookKind.SOCKET: "XCAP_SKB_CONTEXT",
    HookKind.TC: "XCAP_SKB_CONTEXT",
    HookKind.XDP: "XCAP_XDP_CONTEXT",
}
"""Kinds whose packet is the program's context: at run time it is the kernel's own struct."""

AS_SKB: Mapping[PacketForm, str] = {
    PacketForm.SKB: "xcap_copy_skb",
    PacketForm.XDP_BUFF: "xcap_skb_of_buff",
    PacketForm.XDP_FRAME: "xcap_skb_of_frame",
}
"""What makes an sk_buff of a packet, which all else is read from; it gives NULL where it cannot be read."""

MBUFS = frozenset({PacketForm.MBUF, PacketForm.MBUFS})

TASK_VALUES = frozenset({"xcap_pid", "xcap_tid", "xcap_uid", "xcap_gid", "xcap_comm", "xcap_cgroup"})


def access_of(hook: Hook) -> str:
    """C for how the packet is read."""
    kind = hook.attachment.kind
    if kind in CONTEXTS:
        return CONTEXTS[kind]
    if kind in USER_KINDS:
        return "XCAP_MBUF" if hook.packet is not None and hook.packet.form in MBUFS else "XCAP_USER"
    if hook.packet is not None and hook.packet.form in (PacketForm.XDP_BUFF, PacketForm.XDP_FRAME):
        return "XCAP_XDP"
    return "XCAP_TYPED ? XCAP_TRUSTED : XCAP_KERNEL" if kind is HookKind.RAWTRACEPOINT else "XCAP_KERNEL"


def may_gather(hook: Hook) -> bool:
    """Whether bytes of its packet that are in pages may have to be found by hand."""
    return becomes_skb(hook) and hook.attachment.kind not in CONTEXTS and hook.attachment.kind not in USER_KINDS


def becomes_skb(hook: Hook) -> bool:
    """Whether its packet is an sk_buff, or is read as one."""
    return hook.packet is not None and hook.packet.form in AS_SKB


def reach(hook: Hook, kind: HookKind) -> str:
    """The C that gives the sk_buff of a hook's packet; `kind` is that of the hook at which it is seen."""
    form = hook.packet.form if hook.packet is not None else PacketForm.SKB
    return "XCAP_SKB" if form is PacketForm.SKB and kind is HookKind.RAWTRACEPOINT else AS_SKB[form]


def helper_of(kind: HookKind, helper: str, form: PacketForm | None = None) -> str:
    """The C function of a builtin value at a kind of hook."""
    if kind in CONTEXTS and helper in TASK_VALUES:
        return helper.replace("xcap_", "xcap_task_", 1)
    if helper == "xcap_queue" and form is PacketForm.XDP_BUFF:
        return "xcap_xdp_queue"
    return helper
