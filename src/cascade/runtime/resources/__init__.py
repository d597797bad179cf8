"""Resources: set up when first needed, torn down once."""
