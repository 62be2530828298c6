"""The graph of a network: its operations, passes, reference interpreter and NumPy arithmetic."""
