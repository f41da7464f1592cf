/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* ${TITLE} */
int ${FUNCTION}(struct bpf_raw_tracepoint_args *ctx)
{
${BODY}
	return 0;
}
