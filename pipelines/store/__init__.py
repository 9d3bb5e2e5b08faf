"""Folders and S3 behind one set of functions, and the layout of all that the stages keep there."""
