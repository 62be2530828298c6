"""Deployment: from a Keras model to a graph, through passes, into a file."""
