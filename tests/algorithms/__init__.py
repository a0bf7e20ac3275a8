"""Built-in algorithms: quality against known figures, formats, bad input."""
