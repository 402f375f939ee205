"""ControlNet workbench: measure how a prompt and a control image share the steering."""
