"""Built-in algorithm: K-Means."""
