"""The progressive GAN of Karras et al. 2018: every configuration of the paper.

The public names are listed in `__init__.pyi`; each is imported when it is first used. What the library has to
say goes to the logger `trainer`, which is silent unless a program connects it.
"""

import logging
from importlib.metadata import version

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = version("celebahq-toolkit")

logging.getLogger(__name__).addHandler(logging.NullHandler())
