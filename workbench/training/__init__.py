"""Training: the stages that make the embedded model, and their audit."""
