"""Many trainings as one: a sweep over models, patches and more, on Ray Tune.

options    what is swept, and how
data       what the trainings are of: images, catalogs, splits
plan       the options -> the trials, each training once
resources  what a trial needs, what the cluster has
estimate   how long it will take
dry_run    both of these, said
trial      one training, its evaluations reported
actor      the process that trials run in, one after the other
search     which trial comes next, and which is stopped early
table      results.parquet and results.csv: a row a trial, and a table of their means
progress   what is done, written and said whenever a trial ends
sweep      all of it, resumable
"""
