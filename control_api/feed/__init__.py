"""What regions hear from the control plane and tell it: signed policy, orders and commands down, reports up."""
