"""Studies: all that a paper claims, measured by one command and written as one page."""
