"""Attach points to hooks: one file a family of kinds."""
