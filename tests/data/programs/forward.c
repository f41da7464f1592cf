/* Forwards packets from port 0 to port 0, by DPDK, until none came for a while: what a forwarder is at its smallest. Its
 * packets pass one function in bursts, and one function each. With HALF it has callbacks, which keep half of each burst from
 * being sent, and a buffer, which drops those. */
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>

#define APART __attribute__((noinline, noclone))

static volatile unsigned sum;

APART void process_packet(struct rte_mbuf *packet)
{
	sum += packet->pkt_len;
}

APART void process_burst(struct rte_mbuf **packets, uint16_t count)
{
	for (uint16_t i = 0; i < count; i++)
		process_packet(packets[i]);
}

#ifdef HALF
static uint16_t on_receive(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t count, uint16_t most, void *data)
{
	return count;
}

static uint16_t on_send(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t count, void *data)
{
	return (count + 1) / 2;
}
#endif

int main(int count, char **words)
{
	struct rte_eth_conf settings = {};
	struct rte_mbuf *packets[64];

	if (rte_eal_init(count, words) < 0 || !rte_eth_dev_count_avail())
		return 1;
	struct rte_mempool *pool = rte_pktmbuf_pool_create("packets", 4095, 0, 0, 1024, SOCKET_ID_ANY);

	if (!pool || rte_eth_dev_configure(0, 1, 1, &settings) || rte_eth_rx_queue_setup(0, 0, 512, 0, NULL, pool) ||
	    rte_eth_tx_queue_setup(0, 0, 512, 0, NULL) || rte_eth_dev_start(0))
		return 1;
#ifdef HALF
	struct rte_eth_dev_tx_buffer *buffer = rte_zmalloc("buffer", RTE_ETH_TX_BUFFER_SIZE(RTE_DIM(packets)), 0);

	if (!buffer || rte_eth_tx_buffer_init(buffer, RTE_DIM(packets)) || !rte_eth_add_rx_callback(0, 0, on_receive, NULL) ||
	    !rte_eth_add_tx_callback(0, 0, on_send, NULL))
		return 1;
#endif
	for (unsigned idle = 0; idle < 100; idle++) {
		uint16_t received = rte_eth_rx_burst(0, 0, packets, RTE_DIM(packets));

		process_burst(packets, received);
#ifdef HALF
		for (uint16_t i = 0; i < received; i++)
			rte_eth_tx_buffer(0, 0, buffer, packets[i]);
		rte_eth_tx_buffer_flush(0, 0, buffer);
#else
		uint16_t sent = rte_eth_tx_burst(0, 0, packets, received);

		rte_pktmbuf_free_bulk(packets + sent, received - sent);
#endif
		idle = received ? 0 : idle;
	}
	rte_eth_dev_stop(0);
	rte_eth_dev_close(0);
	return 0;
}
