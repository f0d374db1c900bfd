"""From a bucket of images to a row an image: sources (what there is) -> build (read, decode, view) -> Parquet."""
