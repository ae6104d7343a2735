"""From files to descriptors: image sources, extraction, stores and caches, devices, processes and threads."""
