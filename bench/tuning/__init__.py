"""The search for a method's settings on validation: its space, its budget, its pages."""
