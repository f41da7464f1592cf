"""Meaning: from the syntax tree and the kernel to a resolved program."""
