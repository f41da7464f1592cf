/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* ${TITLE} */
int ${FUNCTION}(void *ctx)
{
${BODY}
	return 0;
}
