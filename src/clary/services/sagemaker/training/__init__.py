"""Training jobs: operations (``api``), decisions (``machine``), looking and doing (``reconcile``), files (``inputs``,
``outputs``, ``contract``)."""
