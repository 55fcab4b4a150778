"""Tiny BLOOM and LLaMA models, grown from random weights on the miniature world in a few minutes on a laptop."""
