/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Functions that are looked at when they return, and the packet that they were entered with: they may have changed or
 * freed it since. And which of a wildcard's functions was hit. */
#pragma once

#include <xcap/describe.h>

/* The index of the function in a program's (lower bits), and of its name among the strings (the bits above). The loader
 * puts a call of bpf_get_attach_cookie() in its place, or, for older kernels, the number itself into a copy for each. */
static u64 (*xcap_place_of)(void *ctx) = (void *)XCAP_PLACE;

#define XCAP_ORDINAL(place) ((place) & ((1 << XCAP_PLACE_BITS) - 1))

/* Where the stack is when the function is entered: at the return address, which x86 has taken off when it returns. No
 * other call that is not over is at this address. */
#if defined(bpf_target_x86)
#define XCAP_CALL_OF_ENTRY(ctx) PT_REGS_SP(ctx)
#define XCAP_CALL_OF_RETURN(ctx) (PT_REGS_SP(ctx) - sizeof(u64))
#else
#define XCAP_CALL_OF_ENTRY(ctx) PT_REGS_SP(ctx)
#define XCAP_CALL_OF_RETURN(ctx) PT_REGS_SP(ctx)
#endif

/* A packet that was saved is all there is of it, and lies where `bytes` are. */
XCAP_INLINE void xcap_saved_alone(struct xcap_hit *hit, u64 bytes)
{
	hit->start = bytes;
	hit->tag_len = hit->data = 0;
	hit->linear_len = hit->cap_len = hit->window_len;
}

/* What is told of a packet holds for the moment at which the function returned. */
XCAP_INLINE void xcap_returned(struct xcap_hit *hit)
{
	hit->event.cpu = bpf_get_smp_processor_id();
	hit->event.time = bpf_ktime_get_ns();
}
