"""Facts about a kernel: BTF, tracefs, symbols, and the header tree that BCC compiles against."""
