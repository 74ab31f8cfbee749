"""Networks: timm backbones behind one interface, decoders, the student made of both, averaging and weight files."""
