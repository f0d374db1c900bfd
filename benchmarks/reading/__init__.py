"""What reading patches from a bucket costs, beside other readers: `python -m benchmarks.reading`.

data       photographs, a slide, large grey images with digits: made, uploaded, indexed
measure    requests, bytes, round trips, CPU time and speed of any reader
readers    PatchReader; whole files, tiffslide, rasterio and zarr on the same pixels
local      PatchReader and pyvips on local files
memory     the peak of a process that reads patches of a small, a large and a huge image
cells      what is measured in turns, a row of a table each
claims     the numbers that matter, beside their goals
"""
