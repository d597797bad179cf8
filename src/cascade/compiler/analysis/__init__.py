"""Questions about blueprints: order, skipping, shapes, mistakes."""
