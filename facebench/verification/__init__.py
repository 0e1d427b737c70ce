"""Is a published run complete, and do its figures come out again on the reader's own copy of the data?"""
