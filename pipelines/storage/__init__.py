"""From a URI to patches, in the order of the flow; docs/reading.md tells it with figures.

objects     whole objects: list, write, upload
ranges      many ranges of many objects at once: clients and stores send them, transfers repeats and counts
tiff        a TIFF's tables -> an index of its tiles; tiff_tiles and colours: a tile's bytes -> its pixels
headers     what an image says of itself before any of its pixels
images      whole encoded images -> pixels; views: pixels -> the low-resolution view
layouts     tiles, strips, whole images and slides as one thing: a grid of tiles
plan        windows -> tiles -> ranges of bytes
tiles       targets -> requests -> decoded -> pasted; bands: a level from top to bottom
patches     references and centres -> patches: what a model reads
pyramid     pixels -> a tiled pyramid, the other way
"""
