"""Flows: definitions, the engine, variables; ``actions`` has one module per action."""
