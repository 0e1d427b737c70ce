"""FFHQ on a Dask cluster, simulated with measured costs: see cluster_simulation.py."""
