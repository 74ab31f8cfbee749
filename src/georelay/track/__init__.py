"""Finished runs as MLflow shows them."""
