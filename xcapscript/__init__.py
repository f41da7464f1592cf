"""xcapscript: a scripting language for packets. The command is `xcap`; here are its compiler and its runtime."""

__version__ = "0.1.0"
