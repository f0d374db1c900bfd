"""The paper's experiments, a module each: the trainings behind every table and figure of docs/results.md.

trials       a training, named and found again; what a table shows of many
colon        Table 1, and below it: augmentation, estimators, entropy, views
mnist        Figures 2 and 3
"""
