"""The temporal model: from pictures of people to a network that reads expressions over time.

`recipe.py` says how, `bank.py` asks a classifier about faces between rest and expression,
`sequences.py` composes those to sequences, `network.py` is what learns from them, `fit.py` trains,
examines and writes it.
"""
