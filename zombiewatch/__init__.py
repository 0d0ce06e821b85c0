"""The command line, the configuration and the service."""
