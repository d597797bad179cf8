"""How values are written into stores, read from them, and shown to people."""

from cascade.adapters.state.codec.preview import preview
from cascade.adapters.state.codec.values import decode, encode, unfit_part

__all__ = ["decode", "encode", "preview", "unfit_part"]
