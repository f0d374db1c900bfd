"""Digits among noise in a large dark image: pictures -> layout -> collage -> label.

pictures   handwritten digits to place: MNIST, or scikit-learn's small ones in its stead
idx        MNIST's own files: found, checked, fetched
noise      scribbles of two lines, the size of a digit
layout     which digits and which noise an image has, and where
rules      what of the digits the label is
collage    the images of a split, each rendered when asked for

Random numbers come from NumPy's legacy generator, as in the authors' code: its streams never change, so that a seed
means the same images with every version.
"""
