"""scope-agent: every acquisition arrives at the facility, annotated and verified.

    acquisition software
      |  hook (in the acquisition process)        files it writes
      v                                              v
    journal (append-only spool)                   watched folders
      \\______________ sources ______________________/
                        v
                   formats          is it whole? which files belong together? what do they say?
                        v
                   acquisition      what the events add up to (one state machine)
                        v
                   calibration      the latest quality-control results and what they hold for
                        v
                   snapshot         what the instrument was
                        v
                   document         what we say about it
                        v
                   outbox           what must not be lost (SQLite)
                        v
                   delivery         to the facility, resumable and verified
                        v
                   telemetry        every step as an event, over MQTT
                        v
                   pipeline         the wiring

A stage may import its left, never its right.
"""

__version__ = "0.1.0"
