"""The generator: from the models to CustomResourceDefinitions and to the API reference."""
