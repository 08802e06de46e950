"""Training: data, losses, stages and the loop; estimates bits, never writes them."""
