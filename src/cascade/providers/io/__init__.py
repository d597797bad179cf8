"""What comes in and goes out: `cs.io.stdin()`, `cs.io.stdout(text)`, and objects of S3 as `cs.io.s3`."""

from __future__ import annotations

from cascade.providers.io import s3
from cascade.providers.io.standard import stdin, stdout

__all__ = ["s3", "stdin", "stdout"]
