"""Inference components: several models on the instances of one endpoint, each with copies of its own."""
