"""Looking for mistakes in a graph and in the functions of its tasks, without running anything."""
