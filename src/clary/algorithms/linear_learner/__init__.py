"""Built-in algorithm: linear models, many at once."""
