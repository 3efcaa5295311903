"""What a model adds to the pipeline: how far it reaches, how well it ends, what it costs."""
