"""Programs and libraries: where their functions and their static probes are."""
