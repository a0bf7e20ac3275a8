"""Built-in algorithm: nearest neighbours."""
