"""The hierarchy: blocks, levels, units and events, and the presets built of them."""
