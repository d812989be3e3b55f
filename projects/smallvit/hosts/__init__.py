"""How a plugin sees a backbone: its blocks, channels, tokens and maps."""
