"""From a bucket of images to a row an image: sources (what there is) -> build (read, decode, view) -> Parquet.

statistics reads back what the views say of all images.
"""
