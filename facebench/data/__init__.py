"""Image sets: where the pictures come from, how they are prepared, and how a set is identified."""
