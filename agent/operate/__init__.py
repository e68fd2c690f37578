"""Seeing it work: what is wrong and what to do (check), what goes on (status, metrics), and what to send to somebody
who helps (report). Nothing here changes an acquisition."""
