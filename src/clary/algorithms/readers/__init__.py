"""Readers that all algorithms share: files, pipes and request bodies to tables of numbers."""
