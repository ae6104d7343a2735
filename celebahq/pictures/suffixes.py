"""Endings of picture files; apart from the decoder, for commands answer `--help` before they load it."""

LOSSY_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".jp2", ".avif", ".heic", ".heif")
"""Endings of formats that lose something, as they are mostly used."""

SUFFIXES = (*LOSSY_SUFFIXES, ".png", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm")
"""Endings by which a picture is known in a folder or a zip; the contents decide how it is read."""
