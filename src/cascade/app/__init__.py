"""The room that chooses defaults: running from a script, compiling."""
