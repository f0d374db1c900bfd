"""What a run, shown: examples, the figure, the table."""
