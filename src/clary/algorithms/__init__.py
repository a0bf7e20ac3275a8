"""Built-in algorithms: what runs inside a job or a replica. Imports nothing of the platform but ``serving.frames``."""
