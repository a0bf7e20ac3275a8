"""Built-in algorithm: principal component analysis."""
