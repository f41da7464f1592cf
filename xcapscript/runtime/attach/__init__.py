"""Attaching programs: one file a hook kind."""
