"""What scoring writes: a Parquet row an image, and a sidecar that says what the rows mean.

OUT/scores.json              what was asked for
OUT/scores/part-*.parquet    SCORES, a row an image
OUT/attention/part-*.parquet ATTENTION, of --attention; the same names as beside
OUT/geojson/, OUT/overlays/  of --geojson and --overlays, a file an image
OUT/summary.json             what it took
"""

import pyarrow as pa

SCORES = pa.schema(
    [
        ("image_id", pa.string()),  # unique
        ("uri", pa.string()),
        ("etag", pa.string()),  # of the object when the images were listed, or in the catalog
        ("height", pa.int32()),  # of the full image, as the two below; 0 where it could not be read
        ("width", pa.int32()),
        ("label", pa.string()),  # name of the class; "" where it is not known
        ("status", pa.string()),  # "ok" or a code of pipelines.storage.images.STATUSES
        ("error", pa.string()),  # why it has no prediction; "" when ok, and then all that follows is as said
        ("prediction", pa.string()),  # name of the class of largest probability; "" when not ok
        ("probabilities", pa.list_(pa.float32())),  # in the order of the model's classes; empty when not ok
        # of the margin between the logits of the two most probable classes, from the draw alone; infinite where one
        # draw cannot tell, 0 where nothing is drawn; NaN when not ok
        ("standard_error", pa.float32()),
        ("n_patches", pa.int32()),  # that were read and classified
        (
            "patches",  # in the order of the draw; of a model that reads a whole grid, the heaviest
            pa.list_(
                pa.struct(
                    [
                        ("y", pa.int32()),  # centre, in pixels of the full image: it begins at y - patch_size // 2
                        ("x", pa.int32()),
                        ("attention", pa.float32()),
                        ("weight", pa.float32()),  # of its features in their estimated mean
                    ]
                )
            ),
        ),
        ("requests", pa.int32()),  # to the storage: for the image's index and view, if it had none yet, and its patches
        ("bytes_read", pa.int64()),
        ("model", pa.string()),  # "NAME@DIGEST": a name of the model, a digest of its files and of how it was asked
    ]
)

ATTENTION = pa.schema(
    [
        ("image_id", pa.string()),
        ("rows", pa.int32()),
        ("columns", pa.int32()),
        ("attention", pa.list_(pa.float16())),  # over all cells, row by row; it sums to 1 but for rounding
    ]
)

SIDECAR = "scores.json"
