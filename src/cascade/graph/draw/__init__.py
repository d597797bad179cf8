"""Pictures of graphs: one model of what is drawn, and a module for each format."""
