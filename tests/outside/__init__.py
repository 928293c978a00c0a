"""Programs and data of others, as they are: what is not on this machine is a skip that says how to
get it.
"""
