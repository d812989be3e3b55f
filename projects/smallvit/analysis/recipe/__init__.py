"""A config's recipe as behavior: built, stepped and measured, not read off its settings."""
