"""How a multilingual language model converges to a lingua franca.

Sentences that say the same in different languages activate the neurons of a model. How alike the activations are tells
apart what the model does for a language (LRDS, key linguistic regions) and what it does for a meaning (SADS); switching a
region off shows what it is for; training steps and model scales show how both evolve.

Reading order, which is the order of the data: `corpora`, `models`, `neurons`, `measures`, `evaluations`, `results`; the
equations are in `measures/equations.py`, and `study.py` puts the stages together.
"""
