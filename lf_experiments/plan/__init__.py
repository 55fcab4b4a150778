"""What a run would take, without running it (`plan=true`): nothing is downloaded and nothing is written.

1. model      the model without its weights, from this machine or from its shape
2. reading    the tokens of sentences, text and stories
3. cost       of every stage, as the stage itself states it (`study/`)
4. placement  where the weights would go, and how many copies of the model fit
5. rate       how fast the operations would be done

`plan.py` adds them up, `text.py` puts them into words.
"""
