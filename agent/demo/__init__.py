"""The demonstration: the product as it is, around it a simulated truck, broker and centre."""
