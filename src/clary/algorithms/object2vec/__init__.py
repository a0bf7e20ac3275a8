"""Built-in algorithm: Object2Vec."""
