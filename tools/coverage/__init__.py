"""Opens families of networks and checks every answer against a plain definition."""
