"""Ready-made tasks: shell commands, HTTP, SQL, files and more; `cs.shell(...)`, `cs.http.get(...)` find them."""

from cascade.providers.registry import register, unregister

__all__ = ["register", "unregister"]
