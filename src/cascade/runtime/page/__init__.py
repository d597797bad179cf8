"""The web page of an engine: what it asks for, and who answers."""
