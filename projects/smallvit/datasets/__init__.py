"""Data sets and transforms that MMPretrain does not have."""
