"""Everything that knows Ray or storage: pixels and rows move here, the method itself is `ats_core`.

storage   bytes from a bucket -> patches
catalog   a data set -> a row an image, with its view
training  rows -> a trained model
tuning    settings -> many trained models
scoring   a model and a bucket -> a row of scores an image
report    runs, sweeps, scores -> tables, figures, a page
"""
