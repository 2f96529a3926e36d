"""The parts of `benchmarks.actions`:

plan, books                pure: what is asked for; whether what came of it adds up
containers, witness        containers to act on; Docker's own account of what happened to them
stage                      a real `fleetcast up`, its processes and its Redis
client                     a client that asks again, at another edge, until it knows
chaos, overhead, flood     the three runs
report                     tables and JSON
"""
