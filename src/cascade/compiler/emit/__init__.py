"""Emitters: one for each kind of instruction, for straight code, and for loops."""
