"""Attention sampling in pure PyTorch: no Ray, and nothing of where images lie.

The flow, one module a stage:

    geometry     cells <-> pixels <-> patches
    pixels       bytes -> standardised network input
    attention    a(V): where to look
    sampling     a proposal q -> Draw(cells, proposal, weights)
    estimators   the weights, unbiased for any proposal
    backbones    residual networks of patches and of whole views
    features     f(P): what a patch shows
    expectation  F = sum (w / q) a f, and its standard error
    models/      propose -> (read) -> forward, the same two phases for attention sampling and for every baseline
    anomaly      an attention to start from: colours that are rare in their view
    transfer     the networks of a trained model to start from
    losses       cross-entropy - lambda entropy
    step         one update of a model
    heap         what a process on a CPU frees, it keeps
    passes       how many images at once without gradient
    precision    what runs in bfloat16, and what never does
    recipes      the paper's tasks as plain dataclasses
    bundle       a model as config.json + model.safetensors
"""

from ats_core.expectation import expectation, standard_error
from ats_core.geometry import CellGrid, extract_patches
from ats_core.models import CNN, AttentionSampling, DeepMIL, Output, PatchModel, PatchSelection, Uniform
from ats_core.sampling import Draw, Sampling, draw

__all__ = [
    "CNN",
    "AttentionSampling",
    "CellGrid",
    "DeepMIL",
    "Draw",
    "Output",
    "PatchModel",
    "PatchSelection",
    "Sampling",
    "Uniform",
    "draw",
    "expectation",
    "extract_patches",
    "standard_error",
]
