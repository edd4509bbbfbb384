"""Charts, and the tables that go with them; the only package that imports matplotlib."""
