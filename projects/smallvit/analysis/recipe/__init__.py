"""A config's training recipe, measured on the built components instead of read from settings."""
