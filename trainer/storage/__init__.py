"""A run on disk: its folder, and the tensor files in it."""
