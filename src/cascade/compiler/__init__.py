"""Graph -> Blueprint: lowering, and how states are entered."""
