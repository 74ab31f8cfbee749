"""Frozen teachers: where their weights come from, what they are shown of a task, and the features they answer with."""
