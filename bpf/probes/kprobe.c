/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* ${TITLE} */
int ${FUNCTION}(struct pt_regs *ctx)
{
${BODY}
	return 0;
}
