"""What agent, facility and dashboards agree on. Imports nothing of ours but errors and clock."""
