"""Training recipe of a config, measured on the built components instead of read from settings."""
