"""The outside world, each part behind a protocol."""
