"""facet: the small-payload face codec of facebench. See codec.py for the payload, network.py for the networks."""
