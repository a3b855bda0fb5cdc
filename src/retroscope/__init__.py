"""A microscope that looks back through a convolutional network.

From any unit of any layer to the pixels that made it fire. `__init__.pyi` lists the public names;
each is imported, and torch with it, when it is first used.
"""

import sys
from importlib import import_module

import lazy_loader

__version__ = "0.1.0.dev0"

__getattr__, _lazy_dir, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __dir__() -> list[str]:
    return [*_lazy_dir(), "__version__"]


if "IPython" in sys.modules:
    import_module("retroscope.notebook").register_formatters()
