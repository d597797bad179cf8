"""Maps: one call for each item, from wherever the items come to wherever the results go."""
