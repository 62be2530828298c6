"""The images of a run: in memory or in their files, and how they are drawn and cut."""
