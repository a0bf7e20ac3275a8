"""Built-in algorithm: the neural topic model."""
