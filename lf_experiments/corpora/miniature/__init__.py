"""A small parallel world in nine languages, written for this project: who does what, where and when.

The tables beside this file are the whole of it. `subjects.tsv`, `actions.tsv`, `places.tsv` and `times.tsv` hold one
phrase per language; `profiles.tsv` says what each subject does, where and when, so that the sentences of one story
share a topic. `world.py` makes sentences of them, `documents.py` stories.
"""
