"""`scope-agent demo`: a microscope, the agent, a facility and a broker on this machine, as separate processes."""
