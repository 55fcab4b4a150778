"""The figures and tables of the paper, and some of ours, one module each: a run or a sweep in, a picture out."""
