"""Flows with a surface at which the field jumps or has a kink: crossing, sliding, grazing (chapter 6)."""
