"""What a run needs to know before it starts: its plan, and its parameters."""
