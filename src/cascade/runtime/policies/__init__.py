"""Policies: what a call or sub-flow is carried out under (attempts, timeouts, caches)."""
