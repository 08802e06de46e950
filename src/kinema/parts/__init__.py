"""What the systems are made of: transforms, priors, quantisation and the traversal of a latent."""
