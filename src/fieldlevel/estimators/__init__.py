"""Networks: what reads maps, what makes an answer of it, and the loss."""
