"""Two hosts for a test: fixtures of the tests on this kernel and on another one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from left import leaving_nothing
from network import Network, make_network, remove_network


@pytest.fixture
def net() -> Iterator[Network]:
    """Two hosts that reach each other."""
    network = make_network()
    try:
        yield network
    finally:
        remove_network(network)


@pytest.fixture
def quiet(net: Network) -> Iterator[Network]:
    """Hosts whose devices have nothing attached in the end that was not there before."""
    with leaving_nothing(net):
        yield net
