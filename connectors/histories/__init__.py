"""Where past events are read from, to see what rules would have done with them: one file a kind.

Each kind yields AlertsReceived and SamplesReceived whose `received_at` never goes back, and holds a bounded part of its
history in memory. None is found by `load`: what a kind needs to be opened differs too much.
"""
