"""The kernel side of a running program: loading, attaching, reading the ring and the maps."""
