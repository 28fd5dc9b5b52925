"""The parts of a collector: intake, outlet, filling, reporting. `include/pipeline/collect.py` puts them together."""
