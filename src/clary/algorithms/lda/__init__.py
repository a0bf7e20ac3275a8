"""Built-in algorithm: latent Dirichlet allocation."""
