"""What a run would take, said without running it (`plan=true`): weights, placement, downloads, work, memory and disk.

1. model      the model without its weights, from this machine or from its shape
2. reading    sentences, text and stories, as batches of tokens
3. placement  where the weights would go
4. work       floating-point operations, and how fast they are done
5. footprint  memory of the host, cache and run folder

`plan.py` puts them together, `text.py` puts them into words. Nothing is downloaded and nothing is written.
"""
