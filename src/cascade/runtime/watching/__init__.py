"""Looking on: what is kept of runs while somebody looks at them on a page."""
