"""Other servers with the same model, for ``make bench-peers``: each from an environment of its own."""
