"""Measures of alignment, one file each: a function of the language blocks of a similarity map, (G, R, G, R), that gives a value
for every pair of languages, (G, G), symmetric; the diagonal is not read. The score is the mean over all pairs.
One with `OF_NEURONS` is a function of the neurons of a layer, the same meanings in the same order in every language, (G, R, N):
it gives a sum over neurons and the number of neurons in it, (G, G) both, and its value is their ratio, for the whole model too.
A measure that needs several meanings has their number as `FEWEST`.
"""
