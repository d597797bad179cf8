"""The event loop's share: a ticker that says when it should have a turn, and the turns."""
