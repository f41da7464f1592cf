"""Where events go: pcapng files, lines and maps as text or JSON."""
