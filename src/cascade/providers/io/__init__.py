"""What comes in and goes out: `cs.io.stdin()`, `prompt(question)`, `stdout(text)`, and objects of S3 as `cs.io.s3`."""

from __future__ import annotations

from cascade.providers.io import s3
from cascade.providers.io.standard import prompt, stdin, stdout

__all__ = ["prompt", "s3", "stdin", "stdout"]
