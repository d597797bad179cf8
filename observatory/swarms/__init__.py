"""Swarms: programs of many thousands of agents that show whether the engine keeps its promises, and look well."""
