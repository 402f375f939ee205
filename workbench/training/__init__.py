"""Training: a ControlNet for any base model, and the stages of the embedded one, audited."""
