"""Files that hold a network: one module per format."""
