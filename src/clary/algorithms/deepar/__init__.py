"""Built-in algorithm: DeepAR forecasting."""
