"""What a training step costs, every model in one run: `python -m benchmarks.step`. Needs torch and `ats_core` alone.

cases      the tasks and the rows of their tables, with the paper's figures
trainer    a model, its optimiser and random images in main memory: one step of training
timing     wall and CPU time of calls that take turns
costs      ms a sample and images a second of all models of a task
memory     the peak of a step, in a process of its own or of an accelerator's allocator
counting   FLOPs, bytes and operations of a call
roofline   what the machine can do at most
phases     where the time of attention sampling goes, beside what the machine could do
variants   other ways to run the same step
claims     the numbers that matter, beside their goals
"""
