"""Folders on disk as sequences of items."""
