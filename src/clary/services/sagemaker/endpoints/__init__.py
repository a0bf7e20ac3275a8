"""Endpoints: operations (``api``), decisions (``machine``), replicas (``fleet``), looking and doing (``reconcile``),
what the front is told (``publish``)."""
