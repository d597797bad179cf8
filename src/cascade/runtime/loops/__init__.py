"""Loops: following jumps and tail calls, the long way and along transitions that are compiled."""
