"""The images of a run: in memory or in files, with shuffling and random crops."""
