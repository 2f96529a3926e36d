"""The parts of `benchmarks.collector`:

engine                     the Docker engine: containers to look at, and its own account of what happens to them
meter                      CPU time and memory of processes, and which of them are the engine's
ours, peers                what is compared: the collectors with a Redis and edges of their own; docker stats, Glances
viewer                     a client of an edge that notes when it got what
usage, latency, burst      the three runs
report                     tables, targets and JSON
"""
