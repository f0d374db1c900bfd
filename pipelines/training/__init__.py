"""Rows of a catalog -> a trained model, on Ray.

batches        views and references stream to the trainers, never megapixels
augment        geometry of views and centres, colour of views and patches
read_ahead     draw cells, ask for their patches ahead of the step
loop           what each worker runs: the step, checkpoints, metrics
evaluate       the test split, from the drawn estimate
run_directory  config.json, metrics.jsonl, checkpoints/, model/, figures/, summary.json
train          one run of Ray Train
options        one name for one option everywhere
"""
