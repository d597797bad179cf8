"""Looking at runs from outside: it costs a run nothing until somebody asks."""
