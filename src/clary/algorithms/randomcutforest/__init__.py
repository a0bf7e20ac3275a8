"""Built-in algorithm: random cut forest."""
