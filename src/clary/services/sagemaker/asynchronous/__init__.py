"""Asynchronous inference: requests are queued (``accept``), sent to instances and their answers stored (``dispatch``),
and told of (``notification``)."""
