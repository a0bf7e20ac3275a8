"""A fuzzer that knows the service models: no request, however odd, may end in a 5xx, a hang or a closed connection.

`values` makes parameters, `requests` spells and signs them, `connection` sends them, `campaign` runs and judges,
`shrink` makes a finding small. ``python -m tests.fuzz --help`` says how to run it.
"""
