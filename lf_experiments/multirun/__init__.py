"""Sweeps: which jobs a command asks for, what their folders are called, and what is done before the first and after the last.

1. jobs       the grids of an experiment, crossed with the command line
2. steps      `checkpoint=glob(...)` as the training steps that are published
3. names      the folder of a sweep, and of each of its jobs
4. launchers  several jobs at once
5. sweep      all jobs checked, run, and their results side by side

Hydra starts a sweep through `hydra_plugins/lf_experiments_sweeper.py`.
"""
