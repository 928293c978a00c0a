"""Servers that WarmDesk is compared with: each the shortest honest program of its kind, written as
its own documents advise. Each listens on the port that is its first argument; `load.bench` starts
them and says what they must do.
"""
