"""The page: rendered here, kept live by Server-Sent Events, no address of anybody else in it."""
