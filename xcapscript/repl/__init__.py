"""The prompt: explore a live kernel by typing."""
