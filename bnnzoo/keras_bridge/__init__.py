"""From a Keras model to a graph, and back."""
