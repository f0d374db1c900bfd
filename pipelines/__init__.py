"""Everything that knows Ray or storage: pixels and rows move here, the method itself is `ats_core`.

storage   bytes from a bucket -> patches
catalog   a data set -> a row an image, with its view
training  rows -> a trained model
report    a run -> a table and a figure
"""
