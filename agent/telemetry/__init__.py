"""Every step as an event, over MQTT, none lost."""
