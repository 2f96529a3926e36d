"""The parts of `benchmarks.fanout`, from the wire up:

frames, dialects, bodies           pure: WebSocket frames, how a client speaks with each system, what is published
connection, probe, load            the load client, a process of its own; `driver` is its handle in the harness
floor, fastapi_app, node_app.mjs   the servers that are ours
publishing, executor               what stands in for collectors and executors
systems, peers                     how each system is started and ended
stage                              one run: a bus, a system, its clients, and the figures of what they did
workload, steady, hostile          what a workload is, and the workloads with their targets
machine, report                    cores, CPU time and memory; tables
"""
