"""Budgets: what agents spend, and what ends them when they have spent all that they were given."""
