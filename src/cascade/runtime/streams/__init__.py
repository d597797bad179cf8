"""Streams: what a generator task gives item by item, and who reads that while it goes on."""
