"""The web page: its files, the server that gives them, and who may ask that for what."""
