"""Where events go: pcapng files, printed lines, maps."""
