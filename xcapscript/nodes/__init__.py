"""The nodes of the resolved program: expressions and statements, with every name, type and filter known."""
