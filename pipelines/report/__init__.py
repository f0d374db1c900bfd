"""What runs and scorings left, shown.

runs             histories and attention maps of run directories, views of catalogs: read back, without Ray
results          what runs and sweeps gave, as rows; row_names: what they are called, estimates: what they are worth
curves           losses, errors and other measures through training
evolution        where the attention lies, through the epochs
agreement        whether two settings look at the same places
examples         a model's test images, with what it drew
figure           the same as a figure
gallery          the test images that tell most, as several models see them
scores           what a scoring left, read back by columns; score_columns: all its images in numbers
scored           its images as its rows say that the model saw them
score_figures    the figures of it
page             all of it as one HTML page: jobs/make_report.py
tradeoff         error against time and against patches; labels: names beside points
cost             where time, bytes and requests went
figures          all figures of some results, as files
drawing          what several figures draw
table            runs side by side
paper_table      the same in the layout of the paper
cross_validation folds and independent runs, as mean and standard error
present          the end of a training job
"""
