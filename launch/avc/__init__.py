"""`l3flow avc` and its actions."""
