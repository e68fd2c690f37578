"""The far end: receives datasets, shows the fleet. Imports only contract, errors and clock.

uploads -> incoming -> staging -> datasets        tus in, one commit, nothing visible until it is whole
                                    |
                                catalogue          an index that can be thrown away: the datasets are the truth
                                    |
MQTT ----> live ----------------> page             one mirror of the broker, one page
"""
