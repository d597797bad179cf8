"""Ready-made tasks: shell commands, HTTP, SQL, files and more; `cs.shell(...)`, `cs.http.get(...)` find them."""
