"""Built-in algorithm: BlazingText, word vectors and text classification."""
