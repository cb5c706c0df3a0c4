"""The handlers of the Core API, one module per resource; the table of routes names their functions."""
