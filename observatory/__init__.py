"""What looks at Cascade from outside; no part of the package."""
