"""Decoders: from features at several strides to class logits at one."""
