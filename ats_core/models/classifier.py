"""The classifier of features of length one."""

from torch import nn


def unit_classifier(n_features: int, n_classes: int) -> nn.Linear:
    """A linear classifier of features of length one: unit weights make its logits of order one.

    torch's default makes them a tenth of that, and the first updates go into growing the weights before any feature is
    learned.
    """
    classifier = nn.Linear(n_features, n_classes)
    nn.init.normal_(classifier.weight)
    return classifier
