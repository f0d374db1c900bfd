"""The paper's experiments, a module each: the trainings behind every table and figure of docs/results.md.

trials       a training, named and found again; what a table shows of many
figures      the figures and tables of maps that they leave
hardest      which images most trainings get wrong
colon        Table 1, and below it: augmentation, estimators, entropy, views
sampling     the models of Table 1, tested on other patches
mnist        Figures 2 and 3
"""
