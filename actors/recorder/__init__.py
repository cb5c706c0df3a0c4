"""The recorder without Ray: adds records up, puts batches of several edges together, sends them to the control plane."""
