"""Training machinery: processes, precision, hooks."""
