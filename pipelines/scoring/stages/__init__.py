"""What happens to a block of images on its way: open -> propose -> read -> classify, each a step of a Ray Data stream.

A block is a table with a row an image, good or bad, from the first step to the last. An image that fails keeps its row,
with its error, and the others know nothing of it.
"""
