"""The house in numbers: how long its modules are, who imports whom, what calls go in a circle, what a run enters."""
