"""Built-in algorithm: factorization machines."""
