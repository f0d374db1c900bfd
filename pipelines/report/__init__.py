"""What runs left, shown.

runs             histories and attention maps of run directories, views of catalogs: read back, without Ray
curves           losses, errors and other measures through training
evolution        where the attention lies, through the epochs
agreement        whether two settings look at the same places
examples         a model's test images, with what it drew
figure           the same as a figure
drawing          what several figures draw
table            runs side by side
cross_validation folds and independent runs, as mean and standard error
present          the end of a training job
"""
