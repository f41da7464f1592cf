"""C text: from the resolved program to what BCC compiles."""
