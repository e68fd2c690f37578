"""The steps between the stages: each takes acquisitions in one state and leaves them in the next.

listen -> settle -> describe -> enqueue -> dispatch. Every step may be repeated after a crash.
"""
