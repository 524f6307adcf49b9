"""pack and unpack: a project leaves for another machine in one archive, is trained there, and its run comes home.

`relocate` tells paths so that they mean something elsewhere, `leave` gathers what training needs, `arrive` unpacks it, and
`home` brings a run back into the project that it left.
"""

from .arrive import Model, Unpacked, unpack
from .home import pack_run
from .leave import Packed, pack

__all__ = ["Model", "Packed", "Unpacked", "pack", "pack_run", "unpack"]
