"""Probes, one file each: a function (activations, probe configuration) -> `Scores` that says how much every neuron belongs to
every language, and `POOL`, the pool of the activations that it reads.

A method with limits of its own has `check(probe, languages)`, which raises `InputError` before anything is read, and
`most_languages(probe, languages)`, for how many languages a neuron can be key. One whose z needs only sums over sentences has
`of_moments`, which makes its nulls and halves cheap; one that knows what noise makes key has `noise_floor(probe, languages)`.
"""
