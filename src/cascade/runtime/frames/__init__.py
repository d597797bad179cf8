"""What a run is made of: frames of registers, calls, scopes, ids."""
