"""Clary: a self-hosted ML platform that speaks Amazon SageMaker's wire API."""

__version__ = "0.1.0"
