"""Rows of a catalog -> a trained model, on Ray.

batches        views and references stream to the trainers, never megapixels
augment        geometry of views and centres, colour of views and patches
read_ahead     draw cells, ask for their patches ahead of the step
start          what a training begins with, where another has learned it
loop           what each worker runs: steps, evaluation, the history
machine        what it runs on
checkpoints    where its state is kept, by Ray Train or, without workers, by itself
evaluate       what a model says of the test split, and where it looks
metrics        what that is worth
bootstrap      and how far it may be off
run_directory  config.json, metrics.jsonl, checkpoints/, model/, attention/, figures/, summary.json
train          one run of Ray Train
options        one name for one option everywhere
"""
