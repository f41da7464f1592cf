/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* ${TITLE} */
static inline __attribute__((always_inline)) int ${FUNCTION}_looks(void *ctx)
{
${BODY}
	return 0;
}

int ${FUNCTION}(void *ctx)
{
	${FUNCTION}_looks(ctx);
	return -1; /* TC_ACT_UNSPEC, which is TCX_NEXT */
}
