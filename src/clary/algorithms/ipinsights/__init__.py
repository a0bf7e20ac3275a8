"""Built-in algorithm: IP Insights."""
