"""What the kinds are made of: rules of validation, values, and the objects that several kinds have."""
