"""The `cascade` command, and command lines for single targets."""
