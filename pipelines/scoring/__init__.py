"""A trained model over a whole bucket: every image exactly one row, whatever is killed.

    inputs     which images: a prefix, a glob, a list, a catalog -> blocks of a few images, grouped into parts
    catalogs   of these: one that is given, and one that a run keeps
    stages     open and propose (accelerator) -> read (CPU) -> classify (accelerator): what happens to a block
    adaptive   how many patches an image needs
    patience   with a storage that is gone for a while
    store      the part files, each written whole by one process, and what they hold already
    score      all of it, as Ray Data streams it
    check      what would be slow or is broken, from headers alone

schema says what is written; geojson and overlays are for those who would rather look.
"""
