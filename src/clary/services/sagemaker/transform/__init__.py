"""Batch transform: predictions for whole data sets."""
