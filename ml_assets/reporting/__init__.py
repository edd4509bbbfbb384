"""Charts, the tables that go with them, and reports; the only package that imports matplotlib."""
