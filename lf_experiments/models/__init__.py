"""Who reads it: loading models, their neuron sites and their checkpoints, and growing the tiny ones."""
